/* test_gathering.c - requests that come together start together.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"

#include <sys/wait.h>

#define PEERS 40 /* more than a group */

static struct rig_peer peers[PEERS];
static uint32_t running; /* when the first one started */
static bool take;        /* the owner goes on with the next by itself */
static int child_status;

static void
begin_test(struct rig *rig, const char *what, void (*on_start)(struct rig *))
{
    check_case(what);
    rig_init(rig);
    rig->on_start = on_start;
    rig_open(rig);
}

/* Asks for /a, /b, ... with one peer each, and makes one turn. */
static void
ask_at_once(struct rig *rig, int count)
{
    char text[] = GET("/_");

    for (int i = 0; i < count; i++) {
        CHECK(rig_connect(rig, &peers[i]));
    }
    rig_run(rig);
    for (int i = 0; i < count; i++) {
        text[strlen("GET /")] = (char)('a' + i % 26);
        peer_send(&peers[i], text, strlen(text));
    }
    CHECK(gl_engine_turn(rig->engine, 1000, &gl_budget_default) == count);
}

static void
end_test(struct rig *rig, int count)
{
    for (int i = 0; i < count; i++) {
        peer_close(&peers[i]);
    }
    RIG_UNTIL(rig, rig_is_empty(rig));
    rig_close(rig);
}

static void
check_answers(int count)
{
    for (int i = 0; i < count; i++) {
        peer_read(&peers[i]);
        CHECK(answer_size(peers[i].got, peers[i].n, false) == peers[i].n);
    }
}

/* --- when they start -------------------------------------------------- */

static void
note_running(struct rig *rig)
{
    if (rig->started == 1) {
        running = gl_engine_stats(rig->engine).running;
    }
}

static void
test_all_heads_first(void)
{
    struct rig rig;

    begin_test(&rig, "all heads of a group are read first", note_running);
    ask_at_once(&rig, 5);
    CHECK(running == 5);
    CHECK(strcmp(rig.order, "abcde") == 0);
    check_answers(5);
    end_test(&rig, 5);
}

static void
test_groups(void)
{
    struct rig rig;

    begin_test(&rig, "groups", note_running);
    ask_at_once(&rig, PEERS);
    CHECK(running > 1 && running < PEERS);
    CHECK(rig.started == PEERS && rig.answered == PEERS);
    check_answers(PEERS);
    end_test(&rig, PEERS);
}

static void
test_beyond_the_slots(void)
{
    struct rig rig;

    check_case("more than slots");
    rig_init(&rig);
    rig.options.cores = 2;
    rig.on_start = note_running;
    rig_open(&rig);
    ask_at_once(&rig, 5);
    CHECK(running == 2);
    CHECK(strcmp(rig.order, "abcde") == 0);
    CHECK(gl_engine_stats(rig.engine).queued == 3);
    check_answers(5);
    end_test(&rig, 5);
}

static void
test_a_lone_one(void)
{
    struct rig rig;

    begin_test(&rig, "a lone request", NULL);
    ask_at_once(&rig, 1);
    CHECK(rig.answered == 1);
    end_test(&rig, 1);
}

/* Whose client is gone already is told so right after its start. */
static void
test_a_departed_one(void)
{
    struct rig rig;

    check_case("a departed client among them");
    rig_init(&rig);
    rig.hold = true;
    rig_open(&rig);
    for (int i = 0; i < 3; i++) {
        CHECK(rig_connect(&rig, &peers[i]));
        peer_send(&peers[i], GET("/"), strlen(GET("/")));
    }
    shutdown(peers[1].fd, SHUT_WR);
    CHECK(gl_engine_turn(rig.engine, 1000, &gl_budget_default) == 3);
    CHECK(rig.started == 3);
    CHECK(rig.departed == 1);
    while (rig_release(&rig)) {
    }
    check_answers(3);
    end_test(&rig, 3);
}

static void
test_the_rest_of_a_pipeline(void)
{
    struct rig rig;
    const char *two = GET("/x") GET("/y");

    begin_test(&rig, "two requests of one, with another's", NULL);
    CHECK(rig_connect(&rig, &peers[0]));
    CHECK(rig_connect(&rig, &peers[1]));
    peer_send(&peers[0], two, strlen(two));
    peer_send(&peers[1], GET("/z"), strlen(GET("/z")));
    rig_run(&rig);
    CHECK(strcmp(rig.order, "xzy") == 0);
    peer_read(&peers[0]);
    CHECK(2 * answer_size(peers[0].got, peers[0].n, false) == peers[0].n);
    end_test(&rig, 2);
}

/* --- an owner that takes them itself ---------------------------------- */

static void
take_the_next(struct rig *rig)
{
    struct gl_request *req;

    if (!take) {
        return;
    }
    take = false; /* those that it takes come here too */
    while ((req = gl_engine_next_request(rig->engine)) != NULL) {
        rig_start(rig, req);
    }
    take = true;
}

static void
test_an_owner_takes_the_next(void)
{
    struct rig rig;

    begin_test(&rig, "the owner takes the next one itself", take_the_next);
    take = true;
    ask_at_once(&rig, 4);
    take = false;
    CHECK(strcmp(rig.order, "bcda") == 0); /* noted after on_start */
    CHECK(gl_engine_next_request(rig.engine) == NULL);
    check_answers(4);
    end_test(&rig, 4);
}

static void
drop_head(struct rig *rig)
{
    struct gl_request *req = gl_engine_next_request(rig->engine);

    if (req != NULL) {
        CHECK(gl_str_eq(gl_span_str(req->bytes, req->head->path),
                        GL_STR("/b")));
        gl_request_drop_head(req);
        CHECK(req->head == NULL && req->bytes == NULL);
        gl_request_drop_head(req); /* harmless */
        gl_request_finish(req, true);
    }
}

static void
test_a_dropped_head(void)
{
    struct rig rig;

    begin_test(&rig, "a head is dropped", drop_head);
    ask_at_once(&rig, 2);
    CHECK(rig.answered == 1);
    CHECK(gl_engine_stats(rig.engine).running == 0);
    end_test(&rig, 2);
}

static void
fork_first(struct rig *rig)
{
    pid_t child;

    if (rig->started > 1) {
        return;
    }
    child = fork();
    if (child == 0) {
        _exit(gl_engine_next_request(rig->engine) == NULL ? 42 : 1);
    }
    CHECK(waitpid(child, &child_status, 0) == child);
}

static void
test_a_child_takes_none(void)
{
    struct rig rig;

    begin_test(&rig, "fork among them", fork_first);
    ask_at_once(&rig, 3);
    CHECK(WIFEXITED(child_status) && WEXITSTATUS(child_status) == 42);
    check_answers(3);
    end_test(&rig, 3);
}

int
main(void)
{
    test_all_heads_first();
    test_groups();
    test_beyond_the_slots();
    test_a_lone_one();
    test_a_departed_one();
    test_the_rest_of_a_pipeline();
    test_an_owner_takes_the_next();
    test_a_dropped_head();
    test_a_child_takes_none();
    return check_end();
}

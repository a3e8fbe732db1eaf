/* test_static.c - files as answers: without slots, in all ways of sending,
 * without memory, and cut short.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/static.h"

#include "check.h"
#include "rig.h"

#include <fcntl.h>
#include <signal.h>

#define BIG_BYTES (3 << 20)
#define FILE(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define ASK(path, field) \
    "GET " path " HTTP/1.1\r\nHost: a\r\n" field "\r\n\r\n"

/* A rig that serves a folder; `rig` is the first for the hook's sake. */
struct server {
    struct rig rig;
    struct gl_static files;
    struct gl_file_answers answers;
    struct gl_transport transport;
};

static struct {
    char top[64]; /* the temporary folder */
    char *big;    /* what is in its file "big" */
} state;

static bool
on_answer(struct rig *rig, struct gl_request *req)
{
    return gl_static_try(&GL_CONTAINER_OF(rig, struct server, rig)->files,
                         req);
}

static void
add(struct server *server, enum gl_static_list list, const char *key,
    const char *value)
{
    CHECK(gl_static_config_add(&server->files.config, list,
                               (struct gl_str){key, strlen(key)},
                               (struct gl_str){value, strlen(value)}) == 0);
}

static void
open_server(struct server *server)
{
    *server = (struct server){.transport = gl_transport_plain};
    rig_init(&server->rig);
    server->rig.on_answer = on_answer;
    server->rig.transport = &server->transport;
    server->rig.options.cores = 1;
    server->files.answers = &server->answers;
    add(server, GL_STATIC_MAPS, "/s", state.top);
    add(server, GL_STATIC_INDEXES, "small", "");
    add(server, GL_STATIC_TYPES, ".b", "type/b");
    add(server, GL_STATIC_TYPES, ".a", "type/a");
    CHECK(gl_static_config_finish(&server->files.config) == 0);
    rig_open(&server->rig);
    gl_file_answers_init(&server->answers, server->rig.engine);
}

static void
close_server(struct server *server)
{
    gl_file_answers_end(&server->answers);
    rig_close(&server->rig);
    gl_static_config_fini(&server->files.config);
}

static void
write_file(const char *name, const char *bytes, size_t n)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", state.top, name);
    file = fopen(path, "w");
    if (file == NULL || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
        abort();
    }
}

static void
make_tree(void)
{
    (void)snprintf(state.top, sizeof(state.top), "/tmp/static-XXXXXX");
    state.big = __real_malloc(BIG_BYTES);
    if (mkdtemp(state.top) == NULL || state.big == NULL) {
        abort();
    }
    for (size_t i = 0; i < BIG_BYTES; i++) {
        state.big[i] = rig_pattern(i);
    }
    write_file("small", "hello", 5);
    write_file("small.gz", "gzip", 4);
    write_file("empty", "", 0);
    write_file("big", state.big, BIG_BYTES);
}

static void
remove_tree(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", state.top);
    CHECK(system(command) == 0);
    free(state.big);
}

/* Whether the peer has the whole answer with the big file. */
static bool
has_big(struct rig_peer *peer)
{
    const char *body;

    (void)peer_read(peer);
    body = peer->n > 0 ? find_text(peer->got, peer->n < 1000 ? peer->n : 1000,
                                   "\r\n\r\n")
                       : NULL;
    return body != NULL &&
           peer->n - (size_t)(body + 4 - peer->got) == BIG_BYTES &&
           memcmp(body + 4, state.big, BIG_BYTES) == 0;
}

static int
lowest_free(void)
{
    int fd = dup(STDIN_FILENO);

    close(fd);
    return fd;
}

static void
test_statuses(void)
{
    static const struct {
        const char *request;
        const char *status;
    } rows[] = {
        {FILE("/s/small"), "200"},
        {FILE("/s/empty"), "200"},
        {FILE("/s/small?query"), "200"},
        {FILE("/s/"), "200"},
        {FILE("/s"), "301"},
        {ASK("/s/small", "Range: bytes=0-1"), "206"},
        {ASK("/s/small", "Range: bytes=0-1,3-3"), "206"},
        {ASK("/s/small", "Range: bytes=9-"), "416"},
        {ASK("/s/small", "If-None-Match: *"), "304"},
        {ASK("/s/small", "If-Match: \"x\""), "412"},
        {ASK("/s/small", "Accept-Encoding: gzip"), "200"},
        {"PUT /s/small HTTP/1.1\r\nHost: a\r\n\r\n", "405"},
    };
    struct server server;
    struct rig_peer peer;

    open_server(&server);
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        check_case("%s", rows[i].request);
        CHECK(rig_connect(&server.rig, &peer));
        peer_say(&server.rig, &peer, rows[i].request);
        CHECK(peer_got(&peer, rows[i].status));
        peer_close(&peer);
    }
    check_case("counters");
    CHECK(server.rig.started == 0);
    CHECK(server.files.served == GL_ARRAY_LEN(rows));
    CHECK(gl_engine_stats(server.rig.engine).requests == GL_ARRAY_LEN(rows));
    close_server(&server);
}

/* What is no file is the owner's, and a file overtakes nobody's queue. */
static void
test_beside_the_owner(void)
{
    struct server server;
    struct rig_peer first, second, third;

    check_case("beside the owner");
    open_server(&server);
    server.rig.hold = true;
    CHECK(rig_connect(&server.rig, &first) &&
          rig_connect(&server.rig, &second) &&
          rig_connect(&server.rig, &third));
    peer_say(&server.rig, &first, FILE("/s/missing") FILE("/s/small"));
    peer_say(&server.rig, &second, FILE("/x"));
    CHECK(server.rig.started == 1);
    CHECK(gl_engine_stats(server.rig.engine).waiting == 1);
    peer_say(&server.rig, &third, FILE("/s/small") FILE("/s/empty"));
    CHECK(peer_got(&third, "200 200"));
    CHECK(rig_release(&server.rig));
    rig_run(&server.rig);
    CHECK(peer_got(&first, "200 200"));
    CHECK(strstr(first.got, "\r\n\r\nhello") != NULL);
    CHECK(rig_release(&server.rig));
    rig_run(&server.rig);
    CHECK(peer_got(&second, "200"));
    peer_close(&first);
    peer_close(&second);
    peer_close(&third);
    close_server(&server);
}

static ssize_t
refusing_sendfile(struct gl_conn *conn, int file_fd, off_t *offset, size_t n)
{
    (void)conn;
    (void)file_fd;
    (void)offset;
    (void)n;
    return -EINVAL;
}

/* With sendfile, without, and where a filesystem does not have it. */
static void
test_ways_of_sending(int way)
{
    struct server server;
    struct rig_peer peer;

    check_case("way %d of sending", way);
    open_server(&server);
    if (way > 0) {
        server.transport.sendfile = way == 1 ? NULL : refusing_sendfile;
    }
    server.rig.send_buffer_bytes = 4096;
    CHECK(rig_connect(&server.rig, &peer));
    peer_say(&server.rig, &peer, FILE("/s/big"));
    CHECK(!has_big(&peer));
    RIG_WHILE(&server.rig, (void)peer_read(&peer), has_big(&peer));
    peer_forget(&peer);
    peer_say(&server.rig, &peer, FILE("/s/small"));
    CHECK(peer_got(&peer, "200"));
    peer_close(&peer);
    close_server(&server);
}

/* While it is sent, the peer leaves, or the server. */
static void
test_ends(bool peer_first)
{
    struct server server;
    struct rig_peer peer;
    int before = lowest_free();

    check_case("%s ends", peer_first ? "the peer" : "the server");
    open_server(&server);
    server.rig.send_buffer_bytes = 4096;
    CHECK(rig_connect(&server.rig, &peer));
    peer_say(&server.rig, &peer, FILE("/s/big"));
    CHECK(!gl_list_empty(&server.answers.running));
    if (peer_first) {
        peer_close(&peer);
        RIG_UNTIL(&server.rig, rig_is_empty(&server.rig));
        CHECK(gl_list_empty(&server.answers.running));
    }
    close_server(&server);
    peer_close(&peer);
    CHECK(lowest_free() == before);
}

static void
test_truncated(bool reads)
{
    struct server server;
    struct rig_peer peer;
    char path[128];

    check_case("truncated, %s", reads ? "read" : "by sendfile");
    open_server(&server);
    if (reads) {
        server.transport.sendfile = NULL;
    }
    server.rig.send_buffer_bytes = 4096;
    write_file("shrinking", state.big, BIG_BYTES);
    CHECK(rig_connect(&server.rig, &peer));
    peer_say(&server.rig, &peer, FILE("/s/shrinking"));
    (void)snprintf(path, sizeof(path), "%s/shrinking", state.top);
    CHECK(truncate(path, 1000) == 0);
    RIG_WHILE(&server.rig, (void)peer_read(&peer), peer.ended || peer.reset);
    CHECK(peer.n < BIG_BYTES && peer.n > 0);
    peer_close(&peer);
    close_server(&server);
}

/* Every allocation on the way fails once: an answer or a closed connection,
 * and nothing is left. */
static void
test_no_memory(const char *request)
{
    struct server server;
    struct rig_peer peer;
    int before;

    open_server(&server);
    before = lowest_free();
    for (unsigned long nth = 1; nth < 100; nth++) {
        bool due;

        check_case("allocation %lu of %s", nth, request);
        CHECK(rig_connect(&server.rig, &peer));
        rig_run(&server.rig);
        peer_send(&peer, request, strlen(request));
        check_fail_allocation(nth);
        rig_run(&server.rig);
        due = check_failure_is_due();
        check_fail_allocation(0);
        RIG_WHILE(&server.rig, (void)peer_read(&peer),
                  peer.n > 0 || peer.ended || peer.reset);
        peer_close(&peer);
        RIG_UNTIL(&server.rig, rig_is_empty(&server.rig));
        CHECK(lowest_free() == before);
        if (due) {
            break;
        }
        CHECK(nth < 99);
    }
    close_server(&server);
}

static void
test_log(void)
{
    struct server server;
    struct rig_peer peer;
    char line[512] = "";
    int fds[2];

    check_case("access log");
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
        abort();
    }
    server = (struct server){.transport = gl_transport_plain};
    rig_init(&server.rig);
    server.rig.on_answer = on_answer;
    server.rig.access_log = gl_access_log_new(fds[1], GL_ACCESS_COMBINED);
    server.files.answers = &server.answers;
    add(&server, GL_STATIC_MAPS, "", state.top);
    CHECK(gl_static_config_finish(&server.files.config) == 0);
    rig_open(&server.rig);
    gl_file_answers_init(&server.answers, server.rig.engine);
    CHECK(rig_connect(&server.rig, &peer));
    peer_say(&server.rig, &peer, ASK("/small?x", "User-Agent: me"));
    CHECK(peer_got(&peer, "200"));
    gl_access_log_flush(server.rig.access_log);
    CHECK(read(fds[0], line, sizeof(line) - 1) > 0);
    CHECK(strstr(line, "10.0.0.7 - - [") == line);
    CHECK(strstr(line, "\"GET /small?x HTTP/1.1\" 200 5 \"-\" \"me\"\n") !=
          NULL);
    peer_close(&peer);
    close_server(&server);
    gl_access_log_free(server.rig.access_log);
    close(fds[0]);
    close(fds[1]);
}

static void
test_config(void)
{
    struct gl_static_config c = {.has_max_age = false};
    static const char *const names[][2] = {
        {"/a.b/c", ""},
        {"/a.a", "type/a"},
        {"a.x.A", "type/a"},
        {".b", "type/b"},
        {"", ""},
        {"/a.unknown", ""},
        {"/a.", ""},
        {"/a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""},
    };

    (void)gl_static_config_add(&c, GL_STATIC_TYPES, GL_STR(".b"),
                               GL_STR("type/b"));
    (void)gl_static_config_add(&c, GL_STATIC_TYPES, GL_STR(".a"),
                               GL_STR("type/a"));
    (void)gl_static_config_add(&c, GL_STATIC_SKIPS, GL_STR(".py"),
                               GL_STR(""));
    CHECK(gl_static_config_finish(&c) == 0);
    for (size_t i = 0; i < GL_ARRAY_LEN(names); i++) {
        struct gl_str type = gl_static_config_type(
            &c, (struct gl_str){names[i][0], strlen(names[i][0])});
        const char *wanted =
            names[i][1][0] != '\0' ? names[i][1] : "application/octet-stream";

        check_case("type of %s", names[i][0]);
        CHECK(type.n == strlen(wanted) &&
              memcmp(type.p, wanted, type.n) == 0);
    }
    CHECK(gl_static_config_skips(&c, GL_STR("/a.py")));
    CHECK(!gl_static_config_skips(&c, GL_STR("/a.pyc")));
    CHECK(!gl_static_config_skips(&c, GL_STR("py")));
    gl_static_config_fini(&c);
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as Python does */
    make_tree();
    test_config();
    test_statuses();
    test_beside_the_owner();
    for (int way = 0; way < 3; way++) {
        test_ways_of_sending(way);
    }
    test_ends(true);
    test_ends(false);
    test_truncated(false);
    test_truncated(true);
    test_no_memory(FILE("/s/small"));
    test_no_memory(FILE("/s/big"));
    test_no_memory(FILE("/s"));
    test_no_memory(ASK("/s/small", "Range: bytes=0-1,3-3"));
    test_no_memory("PUT /s/small HTTP/1.1\r\nHost: a\r\n\r\n");
    test_log();
    remove_tree();
    return check_end();
}

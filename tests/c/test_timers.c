/* test_timers.c - the heap of deadlines against a plain array.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/timers.h"

#include "base/gl.h"
#include "check.h"

#include <errno.h>

#define COUNT 200

struct probe {
    struct gl_timer timer;
    struct gl_timers *timers;
    struct probe *other; /* which fire() stops or starts */
    int fired;
    uint64_t *clock; /* set to the due time of what fired */
};

static void
note(struct gl_timer *self)
{
    struct probe *p = GL_CONTAINER_OF(self, struct probe, timer);

    CHECK(!gl_timer_running(self));
    CHECK(p->clock == NULL || *p->clock <= self->due_ms);
    if (p->clock != NULL) {
        *p->clock = self->due_ms;
    }
    p->fired++;
}

static uint64_t
earliest(const struct probe *probes)
{
    uint64_t due = GL_TIMERS_NEVER;

    for (int i = 0; i < COUNT; i++) {
        if (gl_timer_running(&probes[i].timer) &&
            probes[i].timer.due_ms < due) {
            due = probes[i].timer.due_ms;
        }
    }
    return due;
}

/* Runs what is due and checks that it was exactly that, in order. */
static void
check_run(struct gl_timers *timers, struct probe *probes, uint64_t now,
          size_t max)
{
    uint64_t clock = 0;
    size_t due = 0, fired = 0, left = 0;

    for (int i = 0; i < COUNT; i++) {
        due += gl_timer_running(&probes[i].timer) &&
               probes[i].timer.due_ms <= now;
        probes[i].fired = 0;
        probes[i].clock = &clock;
    }
    CHECK(gl_timers_run(timers, now, max) == (due < max ? due : max));
    for (int i = 0; i < COUNT; i++) {
        fired += (size_t)probes[i].fired;
        left += gl_timer_running(&probes[i].timer) &&
                probes[i].timer.due_ms <= now;
    }
    CHECK(fired == (due < max ? due : max) && left == due - fired);
    CHECK(left == 0 || gl_timers_next_ms(timers) >= clock);
}

static void
test_against_array(void)
{
    static struct probe probes[COUNT];
    struct gl_timers *timers = gl_timers_new();
    unsigned long seed = 7;
    uint64_t now = 0;

    for (int i = 0; i < 50000; i++) {
        unsigned long r = check_random(&seed) >> 8;
        struct probe *p = &probes[r % COUNT];

        check_case("operation %d", i);
        r /= COUNT;
        if (r % 8 < 4) { /* starts or moves */
            p->timer.fire = note;
            p->timer.due_ms = now + r / 8 % 100;
            CHECK(gl_timers_start(timers, &p->timer) == 0);
            CHECK(gl_timer_running(&p->timer));
        } else if (r % 8 < 7) {
            gl_timers_stop(timers, &p->timer);
            CHECK(!gl_timer_running(&p->timer));
        } else {
            now += r / 8 % 50;
            check_run(timers, probes, now, r % 3 == 0 ? 5 : SIZE_MAX);
        }
        if (!CHECK(gl_timers_next_ms(timers) == earliest(probes))) {
            break;
        }
    }
    for (int i = 0; i < COUNT; i++) {
        gl_timers_stop(timers, &probes[i].timer);
    }
    CHECK(gl_timers_next_ms(timers) == GL_TIMERS_NEVER);
    gl_timers_free(timers);
}

static void
stop_other(struct gl_timer *self)
{
    struct probe *p = GL_CONTAINER_OF(self, struct probe, timer);

    note(self);
    gl_timers_stop(p->timers, &p->other->timer);
}

static void
move_other(struct gl_timer *self)
{
    struct probe *p = GL_CONTAINER_OF(self, struct probe, timer);

    note(self);
    p->other->timer.due_ms = 20;
    check_fail_allocation(1);
    CHECK(gl_timers_start(p->timers, &p->other->timer) == 0);
    check_fail_allocation(0);
}

static void
start_self(struct gl_timer *self)
{
    struct probe *p = GL_CONTAINER_OF(self, struct probe, timer);

    note(self);
    self->due_ms += 10;
    CHECK(gl_timers_start(p->timers, self) == 0);
}

static void
test_inside_fire(void)
{
    struct gl_timers *timers = gl_timers_new();
    struct probe a = {.timers = timers}, b = a;

    check_case("a timer stops another");
    a.other = &b;
    a.timer = (struct gl_timer){.due_ms = 5, .fire = stop_other};
    b.timer = (struct gl_timer){.due_ms = 5, .fire = note};
    CHECK(gl_timers_start(timers, &a.timer) == 0);
    b.timer.due_ms = 6;
    CHECK(gl_timers_start(timers, &b.timer) == 0);
    CHECK(gl_timers_run(timers, 10, SIZE_MAX) == 1);
    CHECK(a.fired == 1 && b.fired == 0);

    check_case("a timer moves another that was to fire with it");
    a.timer = (struct gl_timer){.due_ms = 5, .fire = move_other};
    b.timer = (struct gl_timer){.due_ms = 6, .fire = note};
    CHECK(gl_timers_start(timers, &a.timer) == 0);
    CHECK(gl_timers_start(timers, &b.timer) == 0);
    CHECK(gl_timers_run(timers, 10, SIZE_MAX) == 1);
    CHECK(b.fired == 0 && gl_timers_next_ms(timers) == 20);
    CHECK(gl_timers_run(timers, 20, SIZE_MAX) == 1 && b.fired == 1);

    check_case("a timer starts itself");
    a.fired = 0;
    a.timer.fire = start_self;
    a.timer.due_ms = 10;
    CHECK(gl_timers_start(timers, &a.timer) == 0);
    CHECK(gl_timers_run(timers, 35, SIZE_MAX) == 3); /* 10, 20, 30 */
    CHECK(a.fired == 3 && gl_timers_next_ms(timers) == 40);
    CHECK(gl_timers_run(timers, 1000, 2) == 2); /* bounded */
    gl_timers_stop(timers, &a.timer);
    gl_timers_stop(timers, &a.timer); /* harmless */
    gl_timers_free(timers);
    gl_timers_free(NULL);
}

static int hints[COUNT];

static void
note_hint(struct gl_timer *self, int others)
{
    struct probe *p = GL_CONTAINER_OF(self, struct probe, timer);

    CHECK(gl_timer_running(self) && p->fired == 0);
    /* In steps: 3, 2, then 1, but for the first ones of a run. */
    CHECK(hints[self->due_ms] == 0 || hints[self->due_ms] % 10 == others + 1);
    hints[self->due_ms] = 10 * hints[self->due_ms] + others;
}

static void
test_hints(void)
{
    static struct probe probes[COUNT];
    struct gl_timers *timers = gl_timers_new();

    check_case("hints");
    for (int i = 0; i < COUNT; i++) {
        probes[i].timer = (struct gl_timer){
            .due_ms = (uint64_t)i, .fire = note, .coming = note_hint};
        CHECK(gl_timers_start(timers, &probes[i].timer) == 0);
    }
    CHECK(gl_timers_run(timers, COUNT, SIZE_MAX) == COUNT);
    CHECK(hints[0] == 0 && hints[1] == 1);
    CHECK(hints[2] == 21 && hints[3] == 321 && hints[30] == 321);
    gl_timers_free(timers);
}

static void
test_without_memory(void)
{
    struct gl_timers *timers;
    struct probe probes[64] = {0};
    int refused = 0;

    check_case("no memory");
    check_fail_allocation(1);
    CHECK(gl_timers_new() == NULL);
    timers = gl_timers_new();
    for (int i = 0; i < 64; i++) {
        /* The first array, and each that replaces it, fails once. */
        int error;

        probes[i].timer = (struct gl_timer){.due_ms = 1, .fire = note};
        check_fail_allocation(1);
        error = gl_timers_start(timers, &probes[i].timer);
        if (error != 0) {
            CHECK(error == -ENOMEM && !gl_timer_running(&probes[i].timer));
            CHECK(gl_timers_start(timers, &probes[i].timer) == 0);
            refused++;
        }
        CHECK(gl_timers_start(timers, &probes[i].timer) == 0); /* a move */
        check_fail_allocation(0);
    }
    CHECK(refused > 1);
    CHECK(gl_timers_run(timers, 1, SIZE_MAX) == 64);
    gl_timers_free(timers);
}

int
main(void)
{
    test_against_array();
    test_inside_fire();
    test_hints();
    test_without_memory();
    return check_end();
}

/* fixed_answer.c - an owner of an engine that answers every request alike.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/fixed_answer.h"

#include "base/clock.h"
#include "base/gl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_BYTES 256

/* A request that could not be answered at once, or is delayed. */
struct exchange {
    struct gl_waiter waiter;
    struct gl_timer timer; /* runs while it is delayed */
    struct gl_list link;
    struct gl_fixed_answer *answer;
    struct gl_request *req;
};

static size_t
write_answer(struct gl_fixed_answer *answer, struct gl_request *req,
             char dst[ANSWER_BYTES])
{
    int n = snprintf(dst, ANSWER_BYTES,
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                     "Content-Length: 11\r\nDate: %s\r\n"
                     "Server: greenloop\r\n%s\r\n%s",
                     gl_engine_date(answer->engine),
                     gl_request_keeps(req) ? "" : "Connection: close\r\n",
                     req->head_only ? "" : "Hello World");

    return (size_t)n;
}

/* Reads the body away, then answers.  Returns 0 when the request has ended,
 * or -EAGAIN. */
static int
advance(struct gl_fixed_answer *answer, struct gl_request *req)
{
    char bytes[4096];
    struct iovec iov = {bytes, 0};
    ssize_t n = 1;

    while (!req->body_done && n > 0) {
        n = gl_request_read(req, bytes, sizeof(bytes));
        answer->body_bytes += n > 0 ? (uint64_t)n : 0;
    }
    if (n == -EAGAIN) {
        return -EAGAIN;
    }
    if (n >= 0) {
        iov.iov_len = write_answer(answer, req, bytes);
        req->quiet_end = true;
        n = gl_request_send(req, &iov, 1, true);
        if (n >= 0 && (size_t)n < iov.iov_len) {
            n = -ENOMEM; /* nothing keeps the rest */
        }
    }
    if (n == -EAGAIN) { /* an earlier answer's rest is still leaving */
        return -EAGAIN;
    }
    answer->answered += n >= 0;
    answer->failed += n < 0;
    gl_request_finish(req, n >= 0);
    return 0;
}

static void
end_exchange(struct exchange *x)
{
    gl_engine_timer_stop(x->answer->engine, &x->timer);
    gl_list_remove(&x->link);
    free(x);
}

static int
wait_for_more(struct exchange *x)
{
    if (!x->req->body_done) {
        return gl_request_wait_read(x->req, &x->waiter);
    }
    return gl_request_wait_write(x->req, &x->waiter);
}

static void
woken(struct gl_waiter *waiter, int result)
{
    struct exchange *x = GL_CONTAINER_OF(waiter, struct exchange, waiter);
    int error = result < 0 ? result : advance(x->answer, x->req);

    if (error == 0) {
        end_exchange(x);
        return;
    }
    if (error == -EAGAIN && wait_for_more(x) == 0) {
        return;
    }
    x->answer->failed++;
    gl_request_finish(x->req, false);
    end_exchange(x);
}

static void
delay_over(struct gl_timer *timer)
{
    woken(&GL_CONTAINER_OF(timer, struct exchange, timer)->waiter, 0);
}

static int
begin_delay(struct exchange *x)
{
    x->timer.fire = delay_over;
    x->timer.due_ms = gl_clock_ms() + x->answer->delay_ms;
    return gl_engine_timer_start(x->answer->engine, &x->timer);
}

static void
start(void *owner, struct gl_request *req)
{
    struct gl_fixed_answer *answer = owner;
    struct exchange *x;
    int error;

    if (answer->delay_ms == 0 && advance(answer, req) == 0) {
        return;
    }
    x = calloc(1, sizeof(*x));
    if (x == NULL) {
        answer->failed++;
        gl_request_finish(req, false);
        return;
    }
    x->waiter.wake = woken;
    x->answer = answer;
    x->req = req;
    gl_list_push(&answer->waiting, &x->link);
    error = answer->delay_ms > 0 ? begin_delay(x) : wait_for_more(x);
    if (error < 0) {
        woken(&x->waiter, -ECONNRESET);
    }
}

static void
departed(void *owner, struct gl_request *req)
{
    (void)owner; /* a waiter was woken already; nothing else is running */
    (void)req;
}

static const struct gl_engine_ops ops = {
    .start = start,
    .departed = departed,
};

int
gl_fixed_answer_engine(struct gl_fixed_answer *answer,
                       const struct gl_options *options,
                       const struct gl_log *log,
                       struct gl_engine **ret_engine)
{
    int error;

    *answer = (struct gl_fixed_answer){0};
    gl_list_init(&answer->waiting);
    error = gl_engine_new(&ops, answer, options, log, NULL, ret_engine);
    if (error == 0) {
        answer->engine = *ret_engine;
    }
    return error;
}

void
gl_fixed_answer_fini(struct gl_fixed_answer *answer)
{
    struct gl_list *link;

    while ((link = gl_list_pop(&answer->waiting)) != NULL) {
        struct exchange *x = GL_CONTAINER_OF(link, struct exchange, link);

        gl_request_forget(x->req, &x->waiter);
        gl_request_finish(x->req, false);
        end_exchange(x);
    }
}

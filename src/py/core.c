/* core.c - cores: slots for concurrent requests, each with its greenlet.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/core.h"

#include "base/gl.h"
#include "py/bridge.h"
#include "py/park.h"
#include "py/stack_memory.h"

#include <stdlib.h>

/* --- hubs ------------------------------------------------------------- */

/* A child has copies of its parent's hubs, in which nothing may run: they
 * share the descriptors that their loops wait for. */
static bool
is_of_this_process(const struct gl_hub *hub)
{
    return gl_list_empty(&hub->pools) ||
           gl_engine_is_ours(
               GL_CONTAINER_OF(hub->pools.next, struct gl_pool, link)
                   ->engine);
}

static struct gl_hub *
hub_of(struct gl_state *st, unsigned long thread, PyObject *loop)
{
    for (struct gl_list *l = st->hubs.next; l != &st->hubs; l = l->next) {
        struct gl_hub *hub = GL_CONTAINER_OF(l, struct gl_hub, link);

        if (hub->thread == thread &&
            (loop == NULL ? !gl_list_empty(&hub->pools)
                          : hub->loop == loop) &&
            is_of_this_process(hub)) {
            return hub;
        }
    }
    return NULL;
}

struct gl_hub *
gl_hub_here(struct gl_state *st)
{
    return hub_of(st, PyThread_get_thread_ident(), NULL);
}

struct gl_hub *
gl_hub_running(struct gl_state *st)
{
    PyObject *loop = PyObject_CallNoArgs(st->get_running_loop);
    struct gl_hub *hub = NULL;

    if (loop != NULL) {
        hub = hub_of(st, PyThread_get_thread_ident(), loop);
        Py_DECREF(loop);
    } else if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) {
        return NULL;
    }
    if (hub == NULL || gl_list_empty(&hub->pools)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "no event loop that serves requests runs here; from "
                        "another thread use loop.call_soon_threadsafe()");
        return NULL;
    }
    return hub;
}

#define STACK_GAP_BYTES 32768

void
gl_hub_mark_stack(struct gl_hub *hub)
{
    hub->cores_below = (char *)__builtin_frame_address(0) - STACK_GAP_BYTES;
}

static struct gl_hub *
hub_join(struct gl_state *st, PyObject *loop)
{
    unsigned long thread = PyThread_get_thread_ident();
    struct gl_hub *hub = hub_of(st, thread, loop);

    if (hub == NULL) {
        hub = calloc(1, sizeof(*hub));
        if (hub == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        hub->greenlet = gl_bridge_current();
        if (hub->greenlet == NULL) {
            free(hub);
            return NULL;
        }
        hub->st = st;
        hub->thread = thread;
        hub->loop = Py_NewRef(loop);
        hub->view = hub->loop; /* that loop runs, or will */
        hub->stacks = gl_stack_memory_find();
        gl_hub_mark_stack(hub);
        gl_list_init(&hub->pools);
        gl_list_push(&st->hubs, &hub->link);
    }
    hub->users++;
    return hub;
}

static void
hub_leave(struct gl_hub *hub)
{
    if (--hub->users == 0) {
        gl_list_remove(&hub->link);
        Py_DECREF(hub->greenlet);
        Py_DECREF(hub->loop);
        free(hub);
    }
}

/* --- the greenlet of a core ------------------------------------------- */

/* Gives the running greenlet its context.  From outside greenlet takes one
 * that rests in C code, without a Python frame, for a running one. */
static void
set_context(struct gl_core *core, PyObject *context)
{
    PyObject *descriptor = core->pool->st->gr_context;

    /* The descriptor's own slot: the attribute's look-up costs as much as
     * the rest of taking a core. */
    if (Py_TYPE(descriptor)
            ->tp_descr_set(descriptor, core->greenlet, context) < 0) {
        gl_unraisable(core->greenlet);
    }
}

static void
begin_request(struct gl_core *core)
{
    core->switches = 1;
    core->cancels = core->cancelled = false;
    set_context(core, core->context);
}

/* The greenlet must not keep the context of a request alive that has ended.
 * Finalizers of what it held may want to wait, which nobody may now. */
static void
drop_context(struct gl_core *core)
{
    gl_core_end_waits(core);
    core->busy = false;
    set_context(core, Py_None);
    Py_CLEAR(core->context);
}

static void
end_request(struct gl_core *core)
{
    struct gl_pool *pool = core->pool;

    drop_context(core);
    pool->busy--;
    if (pool->resting_max > 0 && pool->resting >= pool->resting_max) {
        gl_core_link(core->greenlet)->core = NULL;
        Py_CLEAR(core->greenlet); /* it runs until core_main() returns */
        gl_list_push(&pool->idle, &core->idle);
        return;
    }
    pool->resting++;
    /* The last one to end is the first to run: its memory is warm. */
    gl_list_push_front(&pool->idle, &core->idle);
}

/* Rests in the hub until the core is taken, or is to leave.  A greenlet that
 * an application made may end only now: its end comes here, to its parent,
 * and is dropped.  False: the interpreter is ending. */
static bool
rest(struct gl_core *core)
{
    struct gl_pool *pool = core->pool;

    do {
        PyObject *back = gl_bridge_switch(pool->hub->greenlet,
                                          pool->st->empty_tuple, NULL);

        if (back == NULL) {
            if (PyErr_ExceptionMatches(pool->st->greenlet_exit)) {
                return false;
            }
            pool->report(pool, "a greenlet of an ended request raised");
        }
        Py_XDECREF(back);
    } while (!core->busy && !core->leaving);
    return true;
}

/* Of a core's greenlet while it runs: the core's, greenlet's to the one that
 * runs, and that of who entered it. */
#define RUNNING_REFERENCES 3

/* Whether the core's greenlet may go on with another request by itself: the
 * hub entered it last, and nobody else can reach it, nor waits for its next
 * switch. */
static bool
may_go_on(const struct gl_core *core)
{
    return core->pool->takes_requests && core->pool->hub->current == core &&
           gl_bridge_is_private(core->greenlet, RUNNING_REFERENCES);
}

/* Takes the next of the requests that came together: two switches and the
 * look for an idle core cost as much as the rest of a small request. */
static bool
take_next(struct gl_core *core)
{
    struct gl_pool *pool = core->pool;
    struct gl_request *req;

    if (!may_go_on(core)) {
        return false;
    }
    drop_context(core);
    core->busy = true;
    req = may_go_on(core) ? gl_engine_next_request(pool->engine) : NULL;
    if (req == NULL) {
        return false;
    }
    core->context = PyContext_Copy(pool->context);
    if (core->context == NULL) {
        pool->report(pool, "a request could not be started");
        gl_request_finish(req, false);
        return false;
    }
    core->request = req;
    req->user = core;
    core->visible = pool->visible ? 1 : 0;
    gl_core_view(core);
    return true;
}

/* What the greenlet of a core runs: requests, one after the other. */
static PyObject *
core_main(PyObject *capsule, PyObject *unused)
{
    struct gl_core *core = PyCapsule_GetPointer(capsule, "greenloop.core");

    (void)unused;
    if (core == NULL) {
        return NULL;
    }
    while (!core->leaving) {
        do {
            begin_request(core);
            core->pool->serve(core);
        } while (take_next(core));
        end_request(core);
        if (core->greenlet == NULL) {
            break;
        }
        if (!rest(core)) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef core_main_def = {"core_main", core_main, METH_NOARGS,
                                    NULL};

static PyObject *
new_greenlet(struct gl_core *core)
{
    struct gl_state *st = core->pool->st;
    PyObject *capsule = PyCapsule_New(core, "greenloop.core", NULL);
    PyObject *run = NULL, *g = NULL;

    if (capsule != NULL) {
        run = PyCFunction_New(&core_main_def, capsule);
    }
    if (run != NULL) {
        g = PyObject_CallFunctionObjArgs((PyObject *)st->core_type, run,
                                         core->pool->hub->greenlet, NULL);
    }
    if (g != NULL) {
        gl_core_link(g)->core = core;
    }
    Py_XDECREF(run);
    Py_XDECREF(capsule);
    return g;
}

/* Lets an idle core's greenlet run to its end; late switches to it, by
 * whoever kept it, then find no core behind it. */
static void
end_greenlet(struct gl_core *core)
{
    PyObject *g = core->greenlet;
    PyObject *back;

    if (g == NULL) {
        return;
    }
    core->greenlet = NULL;
    gl_core_link(g)->core = NULL;
    core->leaving = true;
    back = gl_bridge_switch(g, core->pool->st->empty_tuple, NULL);
    core->leaving = false;
    if (back == NULL) {
        gl_unraisable(g);
    }
    Py_XDECREF(back);
    Py_DECREF(g);
}

/* context: what the new one is a copy of, unless it is given whole. */
static int
prepare(struct gl_core *core, PyObject *context)
{
    struct gl_pool *pool = core->pool;

    if (core->greenlet != NULL) {
        pool->resting--;
    }
    if (core->greenlet != NULL && !gl_bridge_is_private(core->greenlet, 1)) {
        pool->retired++;
        end_greenlet(core);
    }
    if (core->greenlet == NULL) {
        core->greenlet = new_greenlet(core);
        if (core->greenlet == NULL) {
            return -1;
        }
    }
    core->context =
        context != NULL ? Py_NewRef(context) : PyContext_Copy(pool->context);
    return core->context != NULL ? 0 : -1;
}

/* --- the pool --------------------------------------------------------- */

int
gl_pool_init(struct gl_pool *pool, struct gl_state *st,
             struct gl_engine *engine, PyObject *loop)
{
    pool->st = st;
    pool->engine = engine;
    gl_list_init(&pool->idle);
    gl_list_init(&pool->spare_waits);
    pool->context = PyContext_CopyCurrent();
    if (pool->context != NULL) {
        pool->hub = hub_join(st, loop);
    }
    if (pool->hub == NULL) {
        return -1;
    }
    gl_list_push(&pool->hub->pools, &pool->link);
    return 0;
}

static struct gl_core *
new_core(struct gl_pool *pool)
{
    struct gl_core **cores;
    struct gl_core *core = calloc(1, sizeof(*core));
    uint32_t id = pool->made;

    if (core == NULL) {
        return NULL;
    }
    if ((id & (id - 1)) == 0) { /* full at each power of two */
        cores = realloc(pool->cores, (id > 0 ? 2 * id : 1) * sizeof(*cores));
        if (cores == NULL) {
            free(core);
            return NULL;
        }
        pool->cores = cores;
    }
    core->number = PyLong_FromUnsignedLong(id);
    if (core->number == NULL) {
        PyErr_Clear();
        free(core);
        return NULL;
    }
    core->pool = pool;
    core->id = id;
    gl_list_init(&core->waits);
    pool->cores[id] = core;
    pool->made++;
    return core;
}

static struct gl_core *
take_core(struct gl_pool *pool, PyObject *context)
{
    struct gl_list *link = gl_list_pop(&pool->idle);
    struct gl_core *core = link == NULL
                               ? new_core(pool)
                               : GL_CONTAINER_OF(link, struct gl_core, idle);

    if (core == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (prepare(core, context) < 0) {
        Py_CLEAR(core->context);
        pool->resting += core->greenlet != NULL;
        gl_list_push(&pool->idle, &core->idle);
        return NULL;
    }
    core->visible = pool->visible ? 1 : 0; /* it decides the first view */
    core->busy = true;
    pool->busy++;
    return core;
}

/* Runs the core in the hub.  A greenlet's stack begins where it was first
 * switched to. */
static void
run(struct gl_core *core)
{
    struct gl_pool *pool = core->pool;
    char *here = __builtin_frame_address(0);
    PyObject *back;

    if (here > pool->hub->cores_below &&
        !gl_bridge_is_started(core->greenlet)) {
        volatile char *gap =
            __builtin_alloca((size_t)(here - pool->hub->cores_below));

        gap[0] = 0; /* or the compiler leaves it out */
    }
    back = gl_core_enter(core, core->greenlet, pool->st->empty_tuple, NULL,
                         NULL);
    if (back == NULL) {
        pool->report(pool, "a request raised into the event loop");
    }
    Py_XDECREF(back);
}

void
gl_pool_run(struct gl_pool *pool, struct gl_request *req)
{
    struct gl_core *core = take_core(pool, NULL);

    if (core == NULL) {
        pool->report(pool, "a request could not be started");
        gl_request_finish(req, false);
        return;
    }
    core->request = req;
    req->user = core;
    run(core);
}

int
gl_pool_run_job(struct gl_pool *pool, PyObject *job, PyObject *context)
{
    struct gl_core *core = take_core(pool, context);

    if (core == NULL) {
        return -1;
    }
    core->job = Py_NewRef(job);
    run(core);
    return 0;
}

/* A core that its application will not give back: the request ends without
 * it, and the greenlet finds no core behind it. */
static void
abandon(struct gl_core *core)
{
    while (!gl_list_empty(&core->waits)) {
        struct gl_wait *w =
            GL_CONTAINER_OF(core->waits.next, struct gl_wait, link);

        gl_engine_timer_stop(core->pool->engine, &w->timer);
        gl_list_remove(&w->turn.link);
        if (core->request != NULL) {
            gl_request_forget(core->request, &w->waiter);
        }
        gl_list_remove(&w->link);
    }
    if (core->request != NULL) {
        core->pool->forget_request(core->exchange);
        gl_request_finish(core->request, false);
        core->request = NULL;
    }
    if (core->greenlet != NULL) {
        gl_core_link(core->greenlet)->core = NULL;
    }
}

bool
gl_pool_fini(struct gl_pool *pool)
{
    bool abandoned = false;

    gl_list_remove(&pool->link);
    for (uint32_t i = 0; i < pool->made; i++) {
        struct gl_core *core = pool->cores[i];

        if (core->busy) {
            abandon(core);
            abandoned = true;
            continue; /* its stack may still refer to the core: leak both */
        }
        end_greenlet(core);
        pool->free_exchange(core->exchange);
        Py_XDECREF(core->number);
        free(core);
    }
    gl_pool_free_waits(pool);
    free(pool->cores);
    pool->cores = NULL;
    pool->made = 0;
    Py_CLEAR(pool->context);
    if (pool->hub != NULL && !abandoned) {
        hub_leave(pool->hub);
        pool->hub = NULL;
    }
    return abandoned;
}

void
gl_core_throw(struct gl_core *core, PyObject *type, const char *text)
{
    struct gl_pool *pool = core->pool;
    struct gl_exc exc = {.type = Py_NewRef(type)};
    PyObject *g = core->greenlet, *back;

    if (text != NULL) {
        exc.value = PyObject_CallFunction(type, "s", text);
        if (exc.value == NULL) {
            pool->report(pool, "an exception could not be made");
        }
    }
    if (!gl_list_empty(&core->waits) && gl_core_wait_of(core, g) == NULL) {
        /* The request itself rests in a switch to one of its greenlets. */
        g = GL_CONTAINER_OF(core->waits.next, struct gl_wait, link)->greenlet;
    }
    back = gl_core_enter(core, g, NULL, NULL, &exc);
    if (back == NULL) {
        pool->report(pool, "a request raised into the event loop");
    }
    Py_XDECREF(back);
    gl_engine_settle(pool->engine);
}

void
gl_pool_throw_all(struct gl_pool *pool, PyObject *type)
{
    for (uint32_t i = 0; i < pool->made; i++) {
        if (pool->cores[i]->busy) {
            gl_core_throw(pool->cores[i], type, NULL);
        }
    }
}

/* --- who runs --------------------------------------------------------- */

/* The core that `g` or one of its ancestors is.  Steals g. */
static struct gl_core *
core_above(struct gl_state *st, PyObject *g)
{
    struct gl_core *core = NULL;

    while (g != NULL && core == NULL) {
        PyObject *parent = NULL;

        if (Py_TYPE(g) == st->core_type) {
            core = gl_core_link(g)->core;
        }
        if (core == NULL) {
            parent = gl_bridge_parent(g);
        }
        Py_DECREF(g);
        g = parent;
    }
    Py_XDECREF(g);
    return core;
}

struct gl_core *
gl_core_current(struct gl_state *st)
{
    struct gl_hub *hub = gl_hub_here(st);
    PyObject *g;

    if (hub == NULL) {
        return NULL;
    }
    if (hub->current != NULL) {
        return hub->current;
    }
    /* Somebody else's greenlet may have been switched to by the hub, and
     * may have given control to its parent, a core. */
    g = gl_bridge_current();
    if (g == hub->greenlet) {
        Py_DECREF(g);
        return NULL;
    }
    return core_above(st, g);
}

/* spawn.c - functions that run in a greenlet of their own, as futures.
 *
 * A job runs on a core of the engine's second pool, so that requests keep
 * all of theirs.  It begins in a later turn than the call; until then it is
 * in engine->jobs.  Its future is a greenloop.spawned.SpawnedFuture, whose
 * cancel() asks the job, as a task's asks its coroutine, and which is done
 * when the function has ended.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/spawn.h"

#include "base/gl.h"
#include "py/park.h"

/* Greenlets that rest between two jobs; those of a larger crowd end. */
#define RESTING_MAX 64

typedef struct {
    PyObject_HEAD
    struct gl_list link;     /* in engine->jobs until it begins */
    struct gl_deferred turn; /* to begin, or to be cancelled */
    GlEngine *engine;        /* borrowed: jobs end before it does */
    struct gl_core *core;    /* borrowed while it runs; else NULL */
    PyObject *future;        /* strong until it ended */
    PyObject *function;      /* strong until it ended, like the next three */
    PyObject *args, *kwargs; /* a tuple; a dict or NULL */
    PyObject *context;
    bool cancelling; /* before it began */
} GlJob;

/* --- the end ---------------------------------------------------------- */

/* future.name(arg), or future.name() for NULL; reports what fails. */
static void
tell_future(GlJob *job, PyObject *future, PyObject *name, PyObject *arg)
{
    PyObject *done = arg != NULL ? gl_call_method_one(future, name, arg)
                                 : gl_call_method(future, name);

    if (done == NULL) {
        gl_engine_report(job->engine,
                         "the result of a spawned function got lost");
    }
    Py_XDECREF(done);
}

/* What is no failure: the function was ended from outside. */
static bool
was_ended(struct gl_state *st)
{
    return PyErr_ExceptionMatches(st->cancelled_error) ||
           PyErr_ExceptionMatches(st->greenlet_exit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* Hands the exception that is set to the future. */
static void
fail_future(GlJob *job, PyObject *future)
{
    struct gl_state *st = job->engine->st;
    struct gl_exc exc;
    PyObject *done;

    gl_engine_heed_interrupt(job->engine);
    if (was_ended(st)) {
        PyErr_Clear();
        tell_future(job, future, st->s_cancel, NULL);
        return;
    }
    exc = gl_exc_take();
    done = gl_call_method_one(future, st->s_set_exception, exc.value);
    gl_exc_clear(&exc);
    if (done == NULL) { /* a StopIteration, which no future takes */
        exc = gl_exc_take();
        tell_future(job, future, st->s_set_exception, exc.value);
        gl_exc_clear(&exc);
    }
    Py_XDECREF(done);
}

/* Ends the job with its result, or with the exception that is set.  Steals
 * the result; keeps no exception. */
static void
end_job(GlJob *job, PyObject *result)
{
    struct gl_state *st = job->engine->st;
    GlEngine *engine = job->engine;
    PyObject *future = job->future;
    struct gl_exc exc = {0};

    if (result == NULL) {
        exc = gl_exc_take();
    }
    gl_list_remove(&job->link);
    gl_list_remove(&job->turn.link);
    job->core = NULL;
    job->future = NULL; /* from now on cancel() is the future's own */
    if (PyObject_SetAttr(future, st->s_job, Py_None) < 0) {
        gl_unraisable(future);
    }
    if (result != NULL) {
        tell_future(job, future, st->s_set_result, result);
        Py_DECREF(result);
    } else {
        gl_exc_restore(&exc);
        fail_future(job, future);
    }
    Py_DECREF(future);
    Py_CLEAR(job->function);
    Py_CLEAR(job->args);
    Py_CLEAR(job->kwargs);
    Py_CLEAR(job->context);
    engine->job_count--;
    if (engine->drained && engine->job_count == 0) {
        gl_engine_tell_drained(engine);
    }
}

static void
end_cancelled(GlJob *job)
{
    PyErr_SetNone(job->engine->st->cancelled_error);
    end_job(job, NULL);
}

/* --- running ---------------------------------------------------------- */

/* gl_pool.serve: in the greenlet of a core. */
static void
serve(struct gl_core *core)
{
    GlJob *job = (GlJob *)core->job;

    job->core = core;
    end_job(job, PyObject_Call(job->function, job->args, job->kwargs));
    core->job = NULL;
    Py_DECREF((PyObject *)job);
}

static void
prefetch(const struct gl_core *core)
{
    gl_prefetch(core->job, 2);
}

static void
free_nothing(void *exchange)
{
    (void)exchange; /* the cores of jobs have none */
}

static void
begin(struct gl_deferred *turn)
{
    GlJob *job = GL_CONTAINER_OF(turn, GlJob, turn);

    gl_list_remove(&job->link); /* its reference is ours now */
    if (job->cancelling) {
        end_cancelled(job);
    } else if (gl_pool_run_job(&job->engine->job_pool, (PyObject *)job,
                               job->context) < 0) {
        end_job(job, NULL);
    }
    Py_DECREF((PyObject *)job);
}

int
gl_job_pool_init(GlEngine *engine, PyObject *loop)
{
    struct gl_pool *pool = &engine->job_pool;

    pool->serve = serve;
    pool->prefetch = prefetch;
    pool->free_exchange = free_nothing;
    pool->resting_max = RESTING_MAX;
    return gl_pool_init(pool, engine->st, engine->engine, loop);
}

/* Those that have not begun. */
static void
cancel_waiting(GlEngine *engine)
{
    struct gl_list *link;

    while ((link = gl_list_pop(&engine->jobs)) != NULL) {
        GlJob *job = GL_CONTAINER_OF(link, GlJob, link);

        end_cancelled(job);
        Py_DECREF((PyObject *)job);
    }
}

void
gl_jobs_throw_exit(GlEngine *engine)
{
    cancel_waiting(engine);
    gl_pool_throw_all(&engine->job_pool, engine->st->greenlet_exit);
}

void
gl_jobs_abandon(GlEngine *engine)
{
    struct gl_pool *pool = &engine->job_pool;

    cancel_waiting(engine);
    for (uint32_t i = 0; i < pool->made; i++) {
        GlJob *job = (GlJob *)pool->cores[i]->job;

        if (job != NULL && job->future != NULL) {
            end_cancelled(job);
        }
    }
}

/* --- cancelling ------------------------------------------------------- */

static void
deliver_cancel(struct gl_deferred *turn)
{
    GlJob *job = GL_CONTAINER_OF(turn, GlJob, turn);

    gl_core_throw(job->core, job->engine->st->cancelled_error, NULL);
}

PyDoc_STRVAR(job_cancel_doc,
"cancel($self, /)\n--\n\n"
"Have asyncio.CancelledError thrown into the function where it is parked.\n\n"
"Returns False if it has ended.  Raises RuntimeError in another thread.");

static PyObject *
job_cancel(PyObject *self, PyObject *unused)
{
    GlJob *job = (GlJob *)self;

    (void)unused;
    if (job->future == NULL) {
        Py_RETURN_FALSE;
    }
    if (job->engine->pool.hub->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a future belongs to its loop's thread; use "
                        "loop.call_soon_threadsafe(future.cancel)");
        return NULL;
    }
    if (job->core == NULL) {
        job->cancelling = true;
    } else if (!gl_list_linked(&job->turn.link)) {
        job->turn.run = deliver_cancel;
        gl_engine_defer(job->engine->engine, &job->turn);
    }
    Py_RETURN_TRUE;
}

static void
job_dealloc(PyObject *self)
{
    GlJob *job = (GlJob *)self;
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF(job->future);
    Py_XDECREF(job->function);
    Py_XDECREF(job->args);
    Py_XDECREF(job->kwargs);
    Py_XDECREF(job->context);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef job_methods[] = {
    {"cancel", job_cancel, METH_NOARGS, job_cancel_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(job_doc,
"A function that was spawned, as its future sees it.");

static PyType_Slot job_slots[] = {
    {Py_tp_doc, (void *)job_doc},
    {Py_tp_dealloc, (void *)job_dealloc},
    {Py_tp_methods, job_methods},
    {0, NULL},
};

static PyType_Spec job_spec = {
    .name = "greenloop._core.Job",
    .basicsize = sizeof(GlJob),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = job_slots,
};

/* --- spawn ------------------------------------------------------------ */

/* The engine that runs what is spawned here: the caller's own, or the first
 * of the running loop that is not stopping.  Borrowed; NULL with an
 * exception. */
static GlEngine *
engine_here(struct gl_state *st)
{
    struct gl_core *core = gl_core_current(st);

    return core != NULL && core->busy ? gl_engine_of_pool(core->pool)
                                      : gl_engine_of_hub(gl_hub_running(st));
}

static GlJob *
new_job(struct gl_state *st, PyObject *args, PyObject *kwargs)
{
    GlJob *job = (GlJob *)st->job_type->tp_alloc(st->job_type, 0);

    if (job == NULL) {
        return NULL;
    }
    job->turn.run = begin;
    job->function = Py_NewRef(PyTuple_GET_ITEM(args, 0));
    job->args = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    job->context = PyContext_CopyCurrent();
    if (kwargs != NULL) {
        job->kwargs = PyDict_Copy(kwargs);
    }
    if (job->args == NULL || job->context == NULL ||
        (kwargs != NULL && job->kwargs == NULL)) {
        Py_CLEAR(job);
    }
    return job;
}

PyDoc_STRVAR(spawn_doc,
"spawn($module, function, /, *args, **kwargs)\n--\n\n"
"Run a function in a greenlet of its own; returns an asyncio.Future.\n\n"
"  function  synchronous; it may use await_(), sleep() and the like, as a\n"
"            request may.  It begins soon, in a copy of the caller's\n"
"            context.\n"
"  the rest  is passed to it\n\n"
"The future gets its result or its exception.  Cancelling the future throws\n"
"asyncio.CancelledError into the function where it is parked; the future is\n"
"done when the function has ended.  May be called in requests, in callbacks\n"
"and in coroutines of the loop; it never waits, and takes no request's core.\n"
"There is no limit: each function that waits costs about 10 KiB.  When the\n"
"server stops, GreenletExit ends what was spawned after the last request.\n"
"Raises RuntimeError where no server's loop runs, TypeError for what cannot\n"
"be called.");

static PyObject *
api_spawn(PyObject *module, PyObject *args, PyObject *kwargs)
{
    struct gl_state *st = gl_state_of_module(module);
    GlEngine *engine;
    GlJob *job;

    if (PyTuple_GET_SIZE(args) == 0 ||
        !PyCallable_Check(PyTuple_GET_ITEM(args, 0))) {
        PyErr_SetString(PyExc_TypeError,
                        "spawn(function, *args, **kwargs) takes a function");
        return NULL;
    }
    engine = engine_here(st);
    job = engine != NULL ? new_job(st, args, kwargs) : NULL;
    if (job == NULL) {
        return NULL;
    }
    job->engine = engine;
    job->future = PyObject_CallFunctionObjArgs(
        st->spawned_future, engine->pool.hub->loop, (PyObject *)job, NULL);
    if (job->future == NULL) {
        Py_DECREF((PyObject *)job);
        return NULL;
    }
    engine->job_count++;
    gl_list_push(&engine->jobs, &job->link); /* takes our reference */
    gl_engine_defer(engine->engine, &job->turn);
    return Py_NewRef(job->future);
}

PyMethodDef gl_spawn_methods[] = {
    {"spawn", (PyCFunction)(void (*)(void))api_spawn,
     METH_VARARGS | METH_KEYWORDS, spawn_doc},
    {NULL, NULL, 0, NULL},
};

int
gl_spawn_init(PyObject *module, struct gl_state *st)
{
    st->job_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &job_spec, NULL);
    return st->job_type == NULL
               ? -1
               : PyModule_AddObjectRef(module, "Job",
                                       (PyObject *)st->job_type);
}

/* loop_uv.c - an engine on a uvloop that the server made itself: it waits in
 * place of libuv.
 *
 * uvloop gives its loop to extensions as libuv_get_loop_t_ptr(), and its
 * module has libuv's functions.  What is used of these is in struct uv: as
 * documented, and the same in all of libuv 1.
 *
 * A pass of libuv is: idle handles (uvloop's runs what is ready), prepare
 * handles (ours runs the engine), its epoll set, check handles (uvloop's
 * sends what was written), timers.  We wait in libuv's stead, its epoll set
 * as the member of the engine's.  So that it does not wait once more, an
 * idle handle of ours is active meanwhile.
 *
 * libuv keeps lists on the stack while it calls back: see gl_hub.cores_below.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/loop_turns.h"

#include "base/gl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum uv_type { UV_CHECK = 2, UV_IDLE = 6, UV_PREPARE = 9 };

struct uv_loop_s;
struct uv_handle_s { /* its public members, which come first */
    void *data;
    struct uv_loop_s *loop;
    enum uv_type type;
};
struct uv_prepare_s;
struct uv_idle_s;

struct uv {
    unsigned int (*version)(void);
    size_t (*handle_size)(enum uv_type type);
    int (*is_active)(const struct uv_handle_s *handle);
    void (*unref)(struct uv_handle_s *handle);
    void (*close)(struct uv_handle_s *handle,
                  void (*closed)(struct uv_handle_s *));
    void (*walk)(struct uv_loop_s *loop,
                 void (*visit)(struct uv_handle_s *, void *), void *arg);
    int (*backend_fd)(const struct uv_loop_s *loop);
    int (*backend_timeout)(const struct uv_loop_s *loop);
    void (*update_time)(struct uv_loop_s *loop);
    int (*prepare_init)(struct uv_loop_s *loop, struct uv_prepare_s *handle);
    int (*prepare_start)(struct uv_prepare_s *handle,
                         void (*run)(struct uv_prepare_s *));
    int (*prepare_stop)(struct uv_prepare_s *handle);
    int (*idle_init)(struct uv_loop_s *loop, struct uv_idle_s *handle);
    int (*idle_start)(struct uv_idle_s *handle,
                      void (*run)(struct uv_idle_s *));
    int (*idle_stop)(struct uv_idle_s *handle);
};

#define UV_MAJOR(version) ((version) >> 16)

struct gl_uv_mount {
    struct uv uv;
    GlEngine *engine;                /* strong; NULL: unmounted */
    struct uv_loop_s *loop;          /* borrowed */
    struct uv_prepare_s *prepare;    /* owned, in a box */
    struct uv_idle_s *idle;          /* owned, in a box */
    const struct uv_handle_s *check; /* borrowed: the loop's only one */
    unsigned checks;
    unsigned open; /* handles that are not closed yet */
};

/* What lies before a handle of ours.  Its `data` stays NULL: uvloop takes
 * what is there for an object of its own. */
struct uv_box {
    _Alignas(max_align_t) struct gl_uv_mount *mount;
};

static struct gl_uv_mount *
mount_of(void *handle)
{
    return ((struct uv_box *)handle)[-1].mount;
}

/* --- libuv ------------------------------------------------------------ */

/* Finds libuv's functions in the loaded library at `path`.  Whether all are
 * there, of a version that we know. */
static bool
find_uv(struct uv *uv, const char *path)
{
    static const struct {
        const char *name;
        size_t at;
    } functions[] = {
#define FUNCTION(name) {"uv_" #name, offsetof(struct uv, name)}
        FUNCTION(version),         FUNCTION(handle_size),
        FUNCTION(is_active),       FUNCTION(unref),
        FUNCTION(close),           FUNCTION(walk),
        FUNCTION(backend_fd),      FUNCTION(update_time),
        FUNCTION(backend_timeout), FUNCTION(prepare_init),
        FUNCTION(prepare_start),   FUNCTION(prepare_stop),
        FUNCTION(idle_init),       FUNCTION(idle_start),
        FUNCTION(idle_stop),
#undef FUNCTION
    };
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    size_t found = 0;

    if (library == NULL) {
        return false;
    }
    for (size_t i = 0; i < GL_ARRAY_LEN(functions); i++) {
        void *function = dlsym(library, functions[i].name);

        memcpy((char *)uv + functions[i].at, &function, sizeof(function));
        found += function != NULL;
    }
    (void)dlclose(library); /* Python keeps it */
    return found == GL_ARRAY_LEN(functions) && UV_MAJOR(uv->version()) == 1;
}

static void *
new_box(struct gl_uv_mount *mount, enum uv_type type)
{
    struct uv_box *box =
        calloc(1, sizeof(*box) + mount->uv.handle_size(type));

    if (box == NULL) {
        return NULL;
    }
    box->mount = mount;
    return box + 1;
}

static void
free_box(void *handle)
{
    if (handle != NULL) {
        free((struct uv_box *)handle - 1);
    }
}

static void
on_closed(struct uv_handle_s *handle)
{
    struct gl_uv_mount *mount = mount_of(handle);

    free_box(handle);
    if (--mount->open == 0) {
        free(mount);
    }
}

/* --- turns ------------------------------------------------------------ */

/* Whether the loop has written what it will send in this pass. */
static bool
has_unsent(const struct gl_uv_mount *mount)
{
    return mount->check != NULL && mount->uv.is_active(mount->check);
}

/* How long libuv would wait now: milliseconds, or -1. */
static int
time_to_wait(const struct gl_uv_mount *mount)
{
    if (has_unsent(mount)) {
        return 0;
    }
    mount->uv.update_time(mount->loop);
    return mount->uv.backend_timeout(mount->loop);
}

/* Turns until the loop has something to do, as on the stock loop.  0 or -1
 * with an exception. */
static int
turn_while_loop_rests(const struct gl_uv_mount *mount)
{
    GlEngine *engine = mount->engine;
    int timeout_ms = time_to_wait(mount), n;

    do {
        n = gl_loop_turn_once(engine, timeout_ms);
        if (n <= 0 || timeout_ms == 0 || mount->engine == NULL ||
            mount->check == NULL || engine->engine == NULL ||
            gl_engine_member_ready(engine->engine)) {
            break;
        }
        timeout_ms = time_to_wait(mount);
    } while (timeout_ms != 0);
    return n < 0 ? -1 : 0;
}

/* An exception cannot pass through libuv: as with a selector that fails, the
 * loop ends. */
static void
fail(struct gl_uv_mount *mount, GlEngine *engine)
{
    PyObject *done;

    gl_engine_report(engine, "the loop cannot go on");
    (void)mount->uv.prepare_stop(mount->prepare);
    done = PyObject_CallMethod(engine->pool.hub->loop, "stop", NULL);
    if (done == NULL) {
        gl_unraisable(engine->pool.hub->loop);
    }
    Py_XDECREF(done);
}

static void
on_idle(struct uv_idle_s *idle)
{
    (void)idle; /* that it is active is all it does */
}

static void
on_prepare(struct uv_prepare_s *prepare)
{
    struct gl_uv_mount *mount = mount_of(prepare);
    PyGILState_STATE gil = PyGILState_Ensure();
    GlEngine *engine = mount->engine;

    (void)mount->uv.idle_stop(mount->idle);
    Py_INCREF((PyObject *)engine); /* a callback may end the server */
    if (gl_loop_show(engine, turn_while_loop_rests(mount)) < 0) {
        fail(mount, engine);
    } else if (mount->engine != NULL) {
        (void)mount->uv.idle_start(mount->idle, on_idle);
    }
    Py_DECREF((PyObject *)engine);
    PyGILState_Release(gil);
}

/* --- mounting --------------------------------------------------------- */

static void
find_check(struct uv_handle_s *handle, void *arg)
{
    struct gl_uv_mount *mount = arg;

    if (handle->type == UV_CHECK) {
        mount->check = ++mount->checks == 1 ? handle : NULL;
    }
}

/* Initialising and starting these handles never fails, says libuv. */
static void
start(struct gl_uv_mount *mount)
{
    const struct uv *uv = &mount->uv;

    (void)uv->prepare_init(mount->loop, mount->prepare);
    (void)uv->idle_init(mount->loop, mount->idle);
    uv->unref((struct uv_handle_s *)mount->prepare);
    uv->unref((struct uv_handle_s *)mount->idle);
    mount->open = 2;
    uv->walk(mount->loop, find_check, mount);
    (void)uv->prepare_start(mount->prepare, on_prepare);
}

static void
drop(struct gl_uv_mount *mount)
{
    free_box(mount->prepare);
    free_box(mount->idle);
    free(mount);
}

const char gl_loop_mount_uv_doc[] =
    "mount_uv($self, uv_loop, path, /)\n--\n\n"
    "Run in each pass of a uvloop, and wait in place of its libuv.\n\n"
    "  uv_loop  the capsule of libuv_get_loop_t_ptr()\n"
    "  path     of the loaded library that has libuv's functions\n"
    "Returns False, with nothing done, where they are not there, or where it\n"
    "is mounted on a uvloop already; else True.\n"
    "unmount_uv() is due before the loop is closed.  Raises OSError and\n"
    "MemoryError.";

PyObject *
gl_loop_mount_uv(PyObject *object, PyObject *args)
{
    GlEngine *self = (GlEngine *)object;
    struct gl_uv_mount *mount = calloc(1, sizeof(*mount));
    PyObject *capsule;
    const char *path;
    int error;

    if (mount == NULL) {
        return PyErr_NoMemory();
    }
    if (!PyArg_ParseTuple(args, "Os:mount_uv", &capsule, &path) ||
        gl_engine_check_open(self) < 0) {
        goto failed;
    }
    mount->loop = PyCapsule_GetPointer(capsule, NULL);
    if (mount->loop == NULL) {
        goto failed;
    }
    if (self->uv_mount != NULL || !find_uv(&mount->uv, path)) {
        drop(mount);
        Py_RETURN_FALSE;
    }
    mount->prepare = new_box(mount, UV_PREPARE);
    mount->idle = new_box(mount, UV_IDLE);
    if (mount->prepare == NULL || mount->idle == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    error =
        gl_engine_set_member(self->engine, mount->uv.backend_fd(mount->loop));
    if (error < 0) {
        gl_raise_errno(error, "cannot watch the loop's descriptor");
        goto failed;
    }
    start(mount);
    mount->engine = (GlEngine *)Py_NewRef(self);
    self->uv_mount = mount;
    Py_RETURN_TRUE;
failed:
    drop(mount);
    return NULL;
}

void
gl_loop_leave_uv(GlEngine *self)
{
    struct gl_uv_mount *mount = self->uv_mount;

    if (mount != NULL) {
        self->uv_mount = NULL;
        mount->uv.close((struct uv_handle_s *)mount->prepare, on_closed);
        mount->uv.close((struct uv_handle_s *)mount->idle, on_closed);
        Py_CLEAR(mount->engine);
    }
}

const char gl_loop_unmount_uv_doc[] =
    "unmount_uv($self, /)\n--\n\n"
    "Undo mount_uv().  The engine is of no use on that loop any more.";

PyObject *
gl_loop_unmount_uv(PyObject *object, PyObject *unused)
{
    (void)unused;
    gl_loop_leave_uv((GlEngine *)object);
    Py_RETURN_NONE;
}

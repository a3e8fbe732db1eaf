/* engine_type.h - the Engine object, as the gateway sees it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_ENGINE_TYPE_H
#define GL_PY_ENGINE_TYPE_H

#include "engine/file_answer.h"
#include "py/core.h"
#include "py/entrance.h"

#ifndef GL_VERSION
#error "GL_VERSION is set by the build"
#endif

/* As uwsgi.version has it: in the form of uWSGI's own. */
#define GL_UWSGI_VERSION GL_VERSION "-greenloop"

/* An application and where it is mounted. */
struct gl_mount {
    PyObject *prefix; /* strong str, "" or "/p" */
    PyObject *app;    /* strong */
};

typedef struct {
    PyObject_HEAD
    struct gl_state *st;      /* borrowed from the module */
    struct gl_engine *engine; /* owned; NULL once closed */
    struct gl_pool pool;      /* for requests */
    struct gl_pool job_pool;  /* for what spawn() runs */
    struct gl_list jobs;      /* spawned, not begun; strong: see spawn.c */
    uint32_t job_count;       /* spawned, not ended */
    struct gl_mount *mounts;  /* owned, longest prefix first */
    size_t mount_count;
    struct gl_entrance **entrances; /* owned */
    size_t entrance_count;
    struct gl_access_log *access_log; /* owned; NULL: none */
    PyObject *errors;                 /* strong: wsgi.errors */
    PyObject *report;       /* strong: report(text, exception or None) */
    PyObject *on_interrupt; /* strong: called for a KeyboardInterrupt */
    PyObject *on_drained;   /* strong: see the Engine's docstring */
    PyObject *loop_select;  /* strong: the loop's own select, or NULL */
    struct gl_uv_mount *uv_mount;   /* owned until unmounted; or NULL */
    PyThreadState *waiting;         /* while the GIL is released */
    struct gl_list websockets;      /* open ones: websocket.c */
    struct gl_static *files;        /* owned; NULL: none are served */
    struct gl_file_answers answers; /* under way, without a core */
    uint32_t websocket_count;
    uint64_t exceptions; /* of applications */
    bool manage_script_name;
    bool cancel_on_disconnect;
    bool stopping;
    bool drained; /* stopping, and the last connection has gone */
} GlEngine;

/* The engine object whose pool this is. */
GlEngine *gl_engine_of_pool(struct gl_pool *pool);
/* An engine of the hub, one that is not stopping before others; NULL without
 * a hub or engine.  Borrowed. */
GlEngine *gl_engine_of_hub(struct gl_hub *hub);
/* Tells `report` about the current exception (cleared) or, with none set,
 * just the text. */
void gl_engine_report(GlEngine *self, const char *text);
/* Begins the stop that a KeyboardInterrupt asks for; any other exception is
 * left as it is.  Keeps it set, but out of the handler's sight. */
void gl_engine_heed_interrupt(GlEngine *self);
/* 0, or -1 with RuntimeError: it is closed. */
int gl_engine_check_open(GlEngine *self);
/* Calls on_drained. */
void gl_engine_tell_drained(GlEngine *self);
/* The methods of engine_files.c, and what it keeps. */
PyObject *gl_engine_serve_files(PyObject *self, PyObject *args);
extern const char gl_engine_serve_files_doc[];
void gl_engine_free_files(GlEngine *self);
int gl_engine_type_init(PyObject *module, struct gl_state *st);

/* --- gateway.c --- */

/* Runs the application for core's request: gl_pool.serve. */
void gl_gateway_serve(struct gl_core *core);
/* Has the memory of core's exchange fetched: gl_pool.prefetch. */
void gl_gateway_prefetch(const struct gl_core *core);
/* Frees what the gateway keeps on a core. */
void gl_gateway_free_kit(void *kit);
/* gl_pool.forget_request: what the application kept of the request says from
 * now on that it has ended. */
void gl_gateway_forget_request(void *kit);

#endif

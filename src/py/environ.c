/* environ.c - the environ of a request (PEP 3333, "environ Variables").
 *
 * Differences from uWSGI, all deliberate: names with an underscore and the
 * Proxy field are dropped, Cookie lines are joined with "; ", REMOTE_PORT is
 * there, dot segments of the path are the application's affair.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/exchange.h"
#include "py/trust.h"

#include "base/gl.h"
#include "engine/protocol.h"
#include "proto/http1_write.h"
#include "proto/url.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define KEY_BYTES 128 /* longer field names get their key made each time */

static int
put_text(PyObject *env, const char *key, const char *text)
{
    PyObject *value = gl_latin1((struct gl_str){text, strlen(text)});
    int error = -1;

    if (value != NULL) {
        error = PyDict_SetItemString(env, key, value);
        Py_DECREF(value);
    }
    return error;
}

/* How a request may wait for descriptors of its own. */
static int
put_waits(struct gl_state *st, PyObject *env)
{
    PyObject *functions = PyModule_GetDict(st->uwsgi_module); /* borrowed */
    PyObject *wait_read = PyDict_GetItemString(functions, "wait_fd_read");
    PyObject *wait_write = PyDict_GetItemString(functions, "wait_fd_write");

    if (wait_read == NULL || wait_write == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the module uwsgi is incomplete");
        return -1;
    }
    return PyDict_SetItem(env, st->s_fdevent_readable, wait_read) == 0 &&
                   PyDict_SetItem(env, st->s_fdevent_writable, wait_write) ==
                       0 &&
                   PyDict_SetItem(env, st->s_fdevent_timeout, Py_None) == 0
               ? 0
               : -1;
}

static int
put_constants(struct gl_state *st, PyObject *env, PyObject *errors)
{
    char host[256] = "";
    PyObject *node, *version, *wsgi_version;
    int error = -1;

    (void)gethostname(host, sizeof(host) - 1); /* "" when there is none */
    node = PyBytes_FromString(host);
    version = PyBytes_FromString(GL_UWSGI_VERSION);
    wsgi_version = Py_BuildValue("(ii)", 1, 0);
    if (node != NULL && version != NULL && wsgi_version != NULL &&
        PyDict_SetItemString(env, "wsgi.version", wsgi_version) == 0 &&
        PyDict_SetItemString(env, "wsgi.errors", errors) == 0 &&
        PyDict_SetItemString(env, "wsgi.multithread", Py_False) == 0 &&
        PyDict_SetItemString(env, "wsgi.multiprocess", Py_False) == 0 &&
        PyDict_SetItemString(env, "wsgi.run_once", Py_False) == 0 &&
        PyDict_SetItemString(env, "wsgi.input_terminated", Py_True) == 0 &&
        PyDict_SetItemString(env, "wsgi.file_wrapper",
                             (PyObject *)st->file_wrapper_type) == 0 &&
        PyDict_SetItemString(env, "uwsgi.version", version) == 0 &&
        PyDict_SetItemString(env, "uwsgi.node", node) == 0) {
        error = 0;
    }
    if (error == 0) {
        error = put_waits(st, env);
    }
    Py_XDECREF(node);
    Py_XDECREF(version);
    Py_XDECREF(wsgi_version);
    return error;
}

/* Keys whose values come with each request stand in the base already, so
 * that a copy of it has its room and its order. */
static int
put_places(struct gl_state *st, PyObject *env)
{
    PyObject *const keys[] = {
        st->s_request_method,    st->s_request_uri,     st->s_path_info,
        st->s_query_string,      st->s_server_protocol, st->s_remote_addr,
        st->s_remote_port,       st->s_wsgi_input,      st->s_uwsgi_core,
        st->s_wsgi_disconnected, st->s_script_name,
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(keys); i++) {
        if (PyDict_SetItem(env, keys[i], st->s_empty) < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *
gl_environ_base(struct gl_state *st, const char *scheme,
                const char *server_name, const char *server_port,
                PyObject *errors)
{
    PyObject *env = PyDict_New();

    if (env != NULL &&
        (put_places(st, env) < 0 || put_constants(st, env, errors) < 0 ||
         put_text(env, "SERVER_NAME", server_name) < 0 ||
         put_text(env, "SERVER_PORT", server_port) < 0 ||
         put_text(env, "wsgi.url_scheme", scheme) < 0 ||
         (strcmp(scheme, "https") == 0 &&
          put_text(env, "HTTPS", "on") < 0))) {
        Py_CLEAR(env);
    }
    return env;
}

/* --- the request line ------------------------------------------------- */

PyObject *
gl_environ_method(struct gl_state *st, struct gl_str method)
{
    PyObject *const known[] = {st->s_m_get,  st->s_m_post,   st->s_m_head,
                               st->s_m_put,  st->s_m_delete, st->s_m_options,
                               st->s_m_patch};

    for (size_t i = 0; i < GL_ARRAY_LEN(known); i++) {
        struct gl_str text;

        if (gl_latin1_view(known[i], &text) && gl_str_eq(text, method)) {
            return Py_NewRef(known[i]);
        }
    }
    return gl_latin1(method);
}

static PyObject *
decoded_path(GlExchange *x, struct gl_str path)
{
    char small[512];
    char *dst = path.n <= sizeof(small) ? small : malloc(path.n);
    PyObject *text = NULL;
    ssize_t n;

    if (dst == NULL) {
        return PyErr_NoMemory();
    }
    n = gl_url_decode(dst, path);
    if (n < 0) {
        gl_raise_errno(-EBADMSG, "bad percent-escape in the path");
        (void)gl_exchange_mark(x, 400);
    } else {
        text = gl_latin1((struct gl_str){dst, (size_t)n});
    }
    if (dst != small) {
        free(dst);
    }
    return text;
}

static PyObject *
path_text(GlExchange *x, struct gl_str path, struct gl_str target)
{
    if (path.n == 0) {
        return Py_NewRef(x->st->s_slash);
    }
    if (x->req->head->path_escaped) {
        return decoded_path(x, path);
    }
    return path.n == target.n ? Py_NewRef(x->uri) : gl_latin1(path);
}

static int
put_request_line(GlExchange *x, PyObject *env)
{
    struct gl_state *st = x->st;
    const struct gl_head *head = x->req->head;
    const char *bytes = x->req->bytes;
    struct gl_str target = gl_span_str(bytes, head->target);

    x->method = gl_environ_method(st, gl_span_str(bytes, head->method));
    x->uri = x->method != NULL ? gl_latin1(target) : NULL;
    if (x->uri == NULL ||
        PyDict_SetItem(env, st->s_request_method, x->method) < 0 ||
        PyDict_SetItem(env, st->s_request_uri, x->uri) < 0 ||
        gl_dict_put_new(
            env, st->s_path_info,
            path_text(x, gl_span_str(bytes, head->path), target)) < 0 ||
        PyDict_SetItem(env, st->s_server_protocol,
                       head->minor > 0 ? st->s_http_11 : st->s_http_10) < 0) {
        return -1;
    }
    if (head->query.n == 0) {
        return 0; /* the base has "" */
    }
    return gl_dict_put_new(env, st->s_query_string,
                           gl_latin1(gl_span_str(bytes, head->query)));
}

/* --- the fields ------------------------------------------------------- */

/* Writes HTTP_NAME of a field name to dst.  Returns its length, or 0 for a
 * name with an underscore, which a proxy could not tell from a dash. */
static size_t
key_text(char *dst, struct gl_str name)
{
    memcpy(dst, "HTTP_", 5);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (c == '_') {
            return 0;
        }
        dst[5 + i] = c == '-'               ? '_'
                     : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A')
                                            : c;
    }
    return name.n + 5;
}

static unsigned
key_slot(const char *text, size_t n)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 16777619U;
    }
    return (hash ^ (hash >> 16)) % GL_KEY_SLOTS;
}

PyObject *
gl_environ_key(struct gl_state *st, struct gl_str text)
{
    PyObject **slot;
    struct gl_str have;

    if (text.n > KEY_BYTES + 5) {
        return gl_latin1(text);
    }
    slot = &st->key_cache[key_slot(text.p, text.n)];
    if (*slot == NULL || !gl_latin1_view(*slot, &have) ||
        !gl_str_eq(have, text)) {
        PyObject *key = gl_latin1(text);

        if (key == NULL) {
            return NULL;
        }
        Py_XSETREF(*slot, key);
    }
    return Py_NewRef(*slot);
}

/* The key of a field without an id.  A new reference; NULL without an
 * exception for a name that is dropped. */
static PyObject *
cached_key(struct gl_state *st, struct gl_str name)
{
    char text[KEY_BYTES + 5];
    size_t n = key_text(text, name);

    return n > 0 ? gl_environ_key(st, (struct gl_str){text, n}) : NULL;
}

static PyObject *
long_key(struct gl_str name)
{
    char *text = malloc(name.n + 5);
    PyObject *key = NULL;
    size_t n;

    if (text == NULL) {
        return PyErr_NoMemory();
    }
    n = key_text(text, name);
    if (n > 0) {
        key = gl_latin1((struct gl_str){text, n});
    }
    free(text);
    return key;
}

static PyObject *
field_key(struct gl_state *st, const struct gl_field *field,
          struct gl_str name)
{
    if (field->id != GL_FIELD_UNKNOWN) {
        return Py_XNewRef(st->field_keys[field->id]);
    }
    return name.n <= KEY_BYTES ? cached_key(st, name) : long_key(name);
}

/* A field that came before: its values become one list (RFC 9110, 5.3). */
static int
join_value(struct gl_state *st, PyObject *env, PyObject *key, PyObject *first,
           PyObject *second)
{
    const char *format = key == st->s_http_cookie ? "%U; %U" : "%U, %U";

    return gl_dict_put_new(env, key,
                           PyUnicode_FromFormat(format, first, second));
}

static int
put_field(GlExchange *x, PyObject *env, const struct gl_field *field)
{
    struct gl_state *st = x->st;
    const char *bytes = x->req->bytes;
    PyObject *key = field_key(st, field, gl_span_str(bytes, field->name));
    Py_ssize_t before = PyDict_GET_SIZE(env);
    PyObject *value, *have;
    int error = -1;

    if (key == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    value = gl_latin1(gl_span_str(bytes, field->value));
    have = value != NULL ? PyDict_SetDefault(env, key, value) : NULL;
    if (have != NULL) {
        /* Not by have == value: short strings are shared. */
        error = PyDict_GET_SIZE(env) > before
                    ? 0
                    : join_value(st, env, key, have, value);
        x->vars++;
    }
    Py_XDECREF(value);
    Py_DECREF(key);
    return error;
}

static int
put_fields(GlExchange *x, PyObject *env)
{
    const struct gl_head *head = x->req->head;

    for (unsigned i = 0; i < head->count; i++) {
        if (put_field(x, env, &head->fields[i]) < 0) {
            return -1;
        }
    }
    if (head->authority.n > 0) { /* RFC 9112, 3.2.2: it overrides Host */
        return gl_dict_put_new(
            env, x->st->s_http_host,
            gl_latin1(gl_span_str(x->req->bytes, head->authority)));
    }
    return 0;
}

/* --- the rest --------------------------------------------------------- */

int
gl_environ_put_peer(GlExchange *x, PyObject *env)
{
    const struct gl_peer *peer = gl_request_peer(x->req);
    char port[20];

    if (peer->text[0] == '\0') {
        return 0; /* a Unix socket: both stay "" */
    }
    if (gl_dict_put_new(
            env, x->st->s_remote_addr,
            gl_latin1((struct gl_str){peer->text, strlen(peer->text)})) < 0) {
        return -1;
    }
    return gl_dict_put_new(
        env, x->st->s_remote_port,
        gl_latin1((struct gl_str){port, gl_http1_decimal(port, peer->port)}));
}

static bool
is_packet(const GlExchange *x)
{
    return gl_request_protocol(x->req) == &gl_protocol_uwsgi;
}

/* What the request itself says. */
static int
put_request(GlExchange *x, PyObject *env)
{
    if (is_packet(x)) {
        return gl_environ_put_packet(x, env);
    }
    return gl_tls_put(x->req, env) == 0 && put_request_line(x, env) == 0 &&
                   gl_environ_put_peer(x, env) == 0 &&
                   put_fields(x, env) == 0 &&
                   (!gl_request_peer_is_trusted(x->req) ||
                    gl_trust_put(x, env) == 0)
               ? 0
               : -1;
}

/* What the access log will want, while the application has not touched it. */
static void
note_for_log(GlExchange *x, PyObject *env)
{
    struct gl_state *st = x->st;

    if (is_packet(x)) {
        gl_environ_note_packet(x, env);
    }
    x->vars_bytes = x->req->head->size;
    x->referer = Py_XNewRef(
        PyDict_GetItemWithError(env, st->field_keys[GL_FIELD_REFERER]));
    x->agent = Py_XNewRef(
        PyDict_GetItemWithError(env, st->field_keys[GL_FIELD_USER_AGENT]));
    PyErr_Clear(); /* keys are interned strings: nothing can fail */
}

PyObject *
gl_environ_new(GlExchange *x, PyObject *base, const struct gl_kit *kit)
{
    struct gl_state *st = x->st;
    PyObject *env = PyDict_Copy(base);

    if (env == NULL) {
        return NULL;
    }
    if (put_request(x, env) < 0 ||
        PyDict_SetItem(env, st->s_wsgi_input, kit->input) < 0 ||
        PyDict_SetItem(env, st->s_uwsgi_core, x->core->number) < 0 ||
        PyDict_SetItem(env, st->s_wsgi_disconnected, kit->departed) < 0) {
        Py_DECREF(env);
        return NULL;
    }
    if (gl_engine_access_log(x->core->pool->engine) != NULL) {
        note_for_log(x, env);
    }
    return env;
}

/* environ_uwsgi.c - the environ of a request that came as a uwsgi packet.
 *
 * The peer's variables are the environ's (PEP 3333, RFC 3875): the proxy has
 * parsed the request, and PATH_INFO is decoded.  Of one name the last value
 * counts, but of an HTTP field that came several times all of them do.  What
 * the server itself says (wsgi.*, uwsgi.* and its kind) cannot be sent, and
 * no variable has anything loaded, changed or run.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/exchange.h"

#include "proto/uwsgi_packet.h"

/* Which variables came; bit gl_var_id. */
static unsigned
vars_sent(const struct gl_head *head)
{
    unsigned sent = 0;

    for (unsigned i = 0; i < head->count; i++) {
        sent |= 1U << head->fields[i].var;
    }
    return sent;
}

static bool
was_sent(unsigned sent, enum gl_var_id id)
{
    return sent & (1U << id);
}

/* The last value of a variable; empty if there is none. */
static struct gl_str
value_of(const struct gl_request *req, enum gl_var_id id)
{
    const struct gl_head *head = req->head;

    for (unsigned i = head->count; i > 0; i--) {
        if (head->fields[i - 1].var == id) {
            return gl_span_str(req->bytes, head->fields[i - 1].value);
        }
    }
    return (struct gl_str){"", 0};
}

/* --- the variables ---------------------------------------------------- */

/* A field of the HTTP message: all its values (RFC 9110, 5.3), those of
 * cookies with their own separator. */
static int
put_field(PyObject *env, PyObject *key, struct gl_str text, enum gl_var_id id)
{
    PyObject *value = gl_latin1(text), *first;
    int error;

    if (value == NULL) {
        return -1;
    }
    first = PyDict_GetItemWithError(env, key); /* borrowed */
    if (first == NULL) {
        error = PyErr_Occurred() ? -1 : PyDict_SetItem(env, key, value);
    } else {
        error = gl_dict_put_new(
            env, key,
            PyUnicode_FromFormat(id == GL_VAR_COOKIE ? "%U; %U" : "%U, %U",
                                 first, value));
    }
    Py_DECREF(value);
    return error;
}

static int
put_var(GlExchange *x, PyObject *env, const struct gl_field *var)
{
    enum gl_var_id id = (enum gl_var_id)var->var;
    struct gl_str value = gl_span_str(x->req->bytes, var->value);
    PyObject *key;
    int error;

    if (id == GL_VAR_DROPPED || id == GL_VAR_RESERVED ||
        (value.n == 0 && (id == GL_VAR_LENGTH || id == GL_VAR_TYPE))) {
        return 0; /* the last: as if there were none, as with HTTP */
    }
    key = gl_environ_key(x->st, gl_span_str(x->req->bytes, var->name));
    if (key == NULL) {
        return -1;
    }
    if (id == GL_VAR_FIELD || id == GL_VAR_COOKIE) {
        error = put_field(env, key, value, id);
    } else {
        error = gl_dict_put_new(env, key, gl_latin1(value));
    }
    Py_DECREF(key);
    return error;
}

static int
put_vars(GlExchange *x, PyObject *env)
{
    const struct gl_head *head = x->req->head;

    x->vars = head->count;
    for (unsigned i = 0; i < head->count; i++) {
        if (put_var(x, env, &head->fields[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- what they mean --------------------------------------------------- */

/* The URI for logs, where none was sent: a path without bytes that could
 * forge a line there. */
static struct gl_str
uri_of_path(const GlExchange *x)
{
    struct gl_str path = gl_span_str(x->req->bytes, x->req->head->path);

    return gl_http_is_value(path) ? path : (struct gl_str){"", 0};
}

/* The method and the URI, also for logs. */
static int
put_request_line(GlExchange *x, PyObject *env, unsigned sent)
{
    const struct gl_head *head = x->req->head;
    bool has_uri = was_sent(sent, GL_VAR_URI);

    x->method =
        gl_environ_method(x->st, gl_span_str(x->req->bytes, head->method));
    if (x->method != NULL) {
        x->uri = gl_latin1(has_uri ? gl_span_str(x->req->bytes, head->target)
                                   : uri_of_path(x));
    }
    if (x->method == NULL || x->uri == NULL ||
        PyDict_SetItem(env, x->st->s_request_method, x->method) < 0) {
        return -1;
    }
    if (!was_sent(sent, GL_VAR_PROTOCOL) &&
        PyDict_SetItem(env, x->st->s_server_protocol, x->st->s_http_10) < 0) {
        return -1;
    }
    return has_uri ? 0 : PyDict_DelItem(env, x->st->s_request_uri);
}

static bool
says_https(struct gl_str scheme, struct gl_str https)
{
    return scheme.n > 0 ? gl_http_equals(scheme, GL_STR("https"))
                        : gl_http_equals(https, GL_STR("on")) ||
                              gl_str_eq(https, GL_STR("1"));
}

static int
put_scheme(GlExchange *x, PyObject *env)
{
    return says_https(value_of(x->req, GL_VAR_SCHEME),
                      value_of(x->req, GL_VAR_HTTPS))
               ? PyDict_SetItem(env, x->st->s_wsgi_url_scheme, x->st->s_https)
               : 0;
}

/* Takes SCRIPT_NAME off the front of PATH_INFO, where it is that. */
static int
strip_script_name(GlExchange *x, PyObject *env)
{
    struct gl_str script = value_of(x->req, GL_VAR_SCRIPT);
    struct gl_str path = gl_span_str(x->req->bytes, x->req->head->path);

    if (script.n > 0 && script.p[script.n - 1] == '/') {
        script.n--;
    }
    if (script.n == 0 || path.n < script.n ||
        memcmp(path.p, script.p, script.n) != 0 ||
        (path.n > script.n && path.p[script.n] != '/')) {
        return 0;
    }
    (void)gl_str_take(&path, script.n);
    return gl_dict_put_new(env, x->st->s_script_name, gl_latin1(script)) == 0
               ? gl_dict_put_new(env, x->st->s_path_info, gl_latin1(path))
               : -1;
}

int
gl_environ_put_packet(GlExchange *x, PyObject *env)
{
    unsigned sent = vars_sent(x->req->head);
    bool strip = x->req->bytes[0] == GL_MODIFIER_SCRIPT_NAME ||
                 gl_engine_of_pool(x->core->pool)->manage_script_name;

    /* A peer that tells of no client is the client, as far as we know. */
    if ((!was_sent(sent, GL_VAR_ADDR) && gl_environ_put_peer(x, env) < 0) ||
        put_vars(x, env) < 0 || put_request_line(x, env, sent) < 0 ||
        put_scheme(x, env) < 0) {
        return -1;
    }
    return strip ? strip_script_name(x, env) : 0;
}

void
gl_environ_note_packet(GlExchange *x, PyObject *env)
{
    struct gl_state *st = x->st;

    x->client = Py_XNewRef(PyDict_GetItemWithError(env, st->s_remote_addr));
    x->user = Py_XNewRef(PyDict_GetItemWithError(env, st->s_remote_user));
    x->protocol =
        Py_XNewRef(PyDict_GetItemWithError(env, st->s_server_protocol));
    PyErr_Clear(); /* keys are interned strings: nothing can fail */
}

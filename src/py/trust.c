/* trust.c - which proxies are believed, and what they say in an environ.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/trust.h"

#include "proto/http1_write.h"
#include "proto/http_tables.h"

#include <errno.h>

/* --- the setting ------------------------------------------------------ */

static int
bad_network(int error, struct gl_str text)
{
    PyObject *shown;

    if (error == -ENOMEM) {
        PyErr_NoMemory();
        return -1;
    }
    shown = PyUnicode_DecodeUTF8(text.p, (Py_ssize_t)text.n, "replace");
    if (shown != NULL) {
        PyErr_Format(PyExc_ValueError,
                     error == -ERANGE ? "%R has no valid prefix length"
                     : error == -EDOM
                         ? "%R has bits set beyond its prefix length"
                         : "%R is no IP address or network, and not "
                           "'unix'",
                     shown);
        Py_DECREF(shown);
    }
    return -1;
}

static int
read_proxies(struct gl_str list, struct gl_networks *proxies)
{
    struct gl_str item;

    while (gl_http_list_next(&list, &item)) {
        int error = gl_networks_add(proxies, item);

        if (error < 0) {
            return bad_network(error, item);
        }
    }
    return 0;
}

static int
read_headers(struct gl_str list, unsigned *ret_fields)
{
    unsigned fields = 0;
    struct gl_str item;

    while (gl_http_list_next(&list, &item)) {
        unsigned bit = gl_trust_field(item);

        if (bit == 0) {
            PyErr_SetString(
                PyExc_ValueError,
                "the headers are x-forwarded-for, x-forwarded-proto, "
                "x-forwarded-host, x-forwarded-port, x-forwarded-ssl, or "
                "forwarded");
            return -1;
        }
        fields |= bit;
    }
    if ((fields & GL_TRUST_FORWARDED) && fields != GL_TRUST_FORWARDED) {
        PyErr_SetString(PyExc_ValueError,
                        "forwarded and x-forwarded-... say the same: a "
                        "proxy writes one kind, and passes the other on");
        return -1;
    }
    *ret_fields = fields > 0 ? fields : GL_TRUST_DEFAULT;
    return 0;
}

int
gl_trust_read(const char *proxies, const char *headers,
              struct gl_trust *ret_trust)
{
    struct gl_trust trust = {.fields = 0};

    if (read_proxies((struct gl_str){proxies, strlen(proxies)},
                     &trust.proxies) < 0 ||
        read_headers((struct gl_str){headers, strlen(headers)},
                     &trust.fields) < 0) {
        gl_networks_fini(&trust.proxies);
        return -1;
    }
    *ret_trust = trust;
    return 0;
}

PyDoc_STRVAR(check_trust_doc,
"check_trust($module, proxies, headers, /)\n--\n\n"
"Raise ValueError unless these comma-separated lists can be given to\n"
"Engine() as trusted_proxies and forwarded_headers.");

static PyObject *
check_trust(PyObject *module, PyObject *args)
{
    const char *proxies, *headers;
    struct gl_trust trust;

    (void)module;
    if (!PyArg_ParseTuple(args, "ss:check_trust", &proxies, &headers) ||
        gl_trust_read(proxies, headers, &trust) < 0) {
        return NULL;
    }
    gl_networks_fini(&trust.proxies);
    Py_RETURN_NONE;
}

PyMethodDef gl_trust_functions[] = {
    {"check_trust", check_trust, METH_VARARGS, check_trust_doc},
    {NULL, NULL, 0, NULL},
};

/* --- in an environ ---------------------------------------------------- */

/* A port as text; 0, which is unknown, as "". */
static PyObject *
port_text(struct gl_state *st, uint16_t port)
{
    char text[20];

    return port == 0 ? Py_NewRef(st->s_empty)
                     : gl_latin1((struct gl_str){
                           text, gl_http1_decimal(text, port)});
}

static int
put_client(GlExchange *x, PyObject *env, const struct gl_forwarded *f)
{
    char text[GL_ADDR_TEXT_BYTES];

    gl_address_text(&f->client, text);
    Py_XSETREF(x->client, gl_latin1((struct gl_str){text, strlen(text)}));
    if (x->client == NULL ||
        PyDict_SetItem(env, x->st->s_remote_addr, x->client) < 0) {
        return -1;
    }
    return gl_dict_put_new(env, x->st->s_remote_port,
                           port_text(x->st, f->client_port));
}

/* Has SERVER_PORT follow the scheme where it is a scheme's own, which is all
 * that is known of a Unix socket.  0 or -1. */
static int
follow_scheme(struct gl_state *st, PyObject *env, bool https)
{
    PyObject *port = PyDict_GetItemWithError(env, st->s_server_port);

    if (port == NULL ||
        PyUnicode_CompareWithASCIIString(port, https ? "80" : "443") != 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return gl_dict_put_new(env, st->s_server_port,
                           port_text(st, https ? 443 : 80));
}

static int
put_scheme(struct gl_state *st, PyObject *env, bool https)
{
    if (follow_scheme(st, env, https) < 0) {
        return -1;
    }
    if (PyDict_SetItem(env, st->s_wsgi_url_scheme,
                       https ? st->s_https : st->s_http) < 0) {
        return -1;
    }
    if (https) {
        return PyDict_SetItem(env, st->s_https_on, st->s_on);
    }
    if (PyDict_Contains(env, st->s_https_on) > 0) {
        return PyDict_DelItem(env, st->s_https_on);
    }
    return 0;
}

/* A host without a port has the one of its scheme. */
static int
put_host(struct gl_state *st, PyObject *env, struct gl_str host)
{
    struct gl_str name;
    uint16_t port = gl_forwarded_host_port(host, &name);

    if (port == 0) {
        port = PyDict_Contains(env, st->s_https_on) > 0 ? 443 : 80;
    }
    return gl_dict_put_new(env, st->s_http_host, gl_latin1(host)) < 0 ||
                   gl_dict_put_new(env, st->s_server_name, gl_latin1(name)) <
                       0
               ? -1
               : gl_dict_put_new(env, st->s_server_port, port_text(st, port));
}

int
gl_trust_put(GlExchange *x, PyObject *env)
{
    const struct gl_request *req = x->req;
    const struct gl_forwarded f = gl_forwarded_read(
        gl_engine_trust(x->core->pool->engine), req->bytes, req->head);

    if ((f.has_client && put_client(x, env, &f) < 0) ||
        (f.scheme != GL_SCHEME_UNSAID &&
         put_scheme(x->st, env, f.scheme == GL_SCHEME_HTTPS) < 0) ||
        (f.host.n > 0 && put_host(x->st, env, f.host) < 0)) {
        return -1;
    }
    return f.port == 0 ? 0
                       : gl_dict_put_new(env, x->st->s_server_port,
                                         port_text(x->st, f.port));
}

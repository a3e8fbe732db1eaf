/* response_sendfile.c - X-Sendfile: the application names a file, and the
 * server sends it.
 *
 * Only files beneath the folders of --x-sendfile; without any the field is an
 * ordinary one.  The status and the other fields are the application's, but a
 * 200 may become a 206, 304, 412 or 416, as it would for a static file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/response.h"

#include "base/gl.h"
#include "base/log.h"
#include "engine/representation.h"
#include "engine/static.h"
#include "proto/http_tables.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the application's field ------------------------------------------ */

int
gl_sendfile_take_field(GlExchange *x, struct gl_str name, struct gl_str value)
{
    const struct gl_static *s = gl_engine_of_pool(x->core->pool)->files;

    if (s == NULL || s->config.lists[GL_STATIC_SENDFILE].count == 0) {
        return 0;
    }
    if (gl_http_equals(name, GL_STR("etag")) ||
        gl_http_equals(name, GL_STR("last-modified"))) {
        x->has_validators = true;
        return 0;
    }
    if (!gl_http_equals(name, GL_STR("x-sendfile"))) {
        return 0;
    }
    free(x->sendfile);
    x->sendfile = malloc(value.n + 1);
    if (x->sendfile == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(x->sendfile, value.p, value.n);
    x->sendfile[value.n] = '\0';
    return 1;
}

/* --- the client's fields ---------------------------------------------- */

/* A value of the environ, which middleware may have changed. */
static struct gl_str
environ_text(GlExchange *x, const char *key)
{
    PyObject *value =
        x->environ != NULL ? PyDict_GetItemString(x->environ, key) : NULL;
    struct gl_str text = {0};

    if (value == NULL || !PyUnicode_Check(value) ||
        !gl_latin1_view(value, &text)) {
        text.p = NULL;
    }
    return text;
}

/* What may change the status.  Validators of the application's own are not
 * known here: it answers conditions itself. */
static void
read_conditions(GlExchange *x, struct gl_conditions *c)
{
    *c = (struct gl_conditions){0};
    if (x->status != 200 || x->method == NULL ||
        !(x->req->head_only ||
          PyUnicode_CompareWithASCIIString(x->method, "GET") == 0)) {
        return;
    }
    c->if_range = environ_text(x, "HTTP_IF_RANGE");
    if (!x->req->head_only && !(x->has_validators && c->if_range.p != NULL)) {
        c->range = environ_text(x, "HTTP_RANGE");
    }
    if (x->has_validators) {
        c->if_range.p = NULL;
        return;
    }
    c->if_match = environ_text(x, "HTTP_IF_MATCH");
    c->if_none_match = environ_text(x, "HTTP_IF_NONE_MATCH");
    c->if_modified_since = environ_text(x, "HTTP_IF_MODIFIED_SINCE");
    c->if_unmodified_since = environ_text(x, "HTTP_IF_UNMODIFIED_SINCE");
}

/* One range at most: the type of its parts is the application's. */
static void
choose(GlExchange *x, const struct stat *info, struct gl_representation *r)
{
    struct gl_conditions c;

    read_conditions(x, &c);
    r->coding = GL_STR("");
    r->type = GL_STR("");
    gl_representation_choose(r, &c, info);
    if (r->selection.range_count > 1) {
        c.range.p = NULL;
        gl_representation_choose(r, &c, info);
    }
}

/* --- the answer ------------------------------------------------------- */

/* Writes the status line and the fields of the choice into the head.  0 or
 * -ENOMEM. */
static int
write_head(GlExchange *x, const struct gl_representation *r,
           struct gl_buf *head)
{
    const char *end = memchr(x->head, '\n', x->head_n); /* is there */
    size_t line_n = (size_t)(end - x->head) + 1;
    int error;

    if (r->selection.status == 200) { /* or whatever the application says */
        error = gl_buf_append(head, x->head, line_n, SIZE_MAX);
    } else {
        error =
            gl_head_printf(head, "HTTP/1.1 %d %s\r\n", r->selection.status,
                           gl_http_reason(r->selection.status));
        x->status = r->selection.status;
    }
    if (error == 0) {
        error = gl_buf_append(head, x->head + line_n, x->head_n - line_n,
                              SIZE_MAX);
    }
    if (error == 0 && !x->has_validators) {
        x->fields += 2;
        error = gl_representation_validators(r, head);
    }
    return error == 0 ? gl_representation_range_fields(r, head) : error;
}

static int
replace_head(GlExchange *x, const struct gl_representation *r)
{
    struct gl_buf head = {0};
    int error = -1;

    if (write_head(x, r, &head) < 0) {
        PyErr_NoMemory();
    } else {
        x->head_n = 0;
        error =
            gl_response_head_add(x, gl_buf_data(&head), gl_buf_len(&head));
    }
    gl_buf_fini(&head);
    return error;
}

/* Takes the answer, and what the application still gives is dropped. */
static int
keep(GlExchange *x, struct gl_file_answer *a, uint64_t length)
{
    x->rest = a;
    x->head_sent = x->no_body = true;
    x->chunked = false;
    x->body_sent = length;
    return 0;
}

static int
begin_file(GlExchange *x, int fd, const struct stat *info)
{
    GlEngine *engine = gl_engine_of_pool(x->core->pool);
    struct gl_representation r;
    struct gl_file_answer *a;

    choose(x, info, &r);
    x->length = r.length;
    x->has_length = r.selection.status != 304;
    if (replace_head(x, &r) < 0 || gl_response_complete_head(x) < 0) {
        close(fd);
        return -1;
    }
    a = gl_file_answer_new(&engine->answers, x->req, fd);
    if (a == NULL ||
        gl_representation_add(&r, a, (struct gl_str){x->head, x->head_n},
                              x->no_body) < 0) {
        gl_file_answer_free(a);
        PyErr_NoMemory();
        return -1;
    }
    return keep(x, a, x->no_body ? 0 : r.length);
}

/* A text of the server's own in place of a file that cannot be sent. */
static int
begin_refusal(GlExchange *x, int status)
{
    GlEngine *engine = gl_engine_of_pool(x->core->pool);
    const char *reason = gl_http_reason(status);
    struct gl_file_answer *a;
    size_t n = strlen(reason);

    if (gl_response_start_own(x, status) < 0) {
        return -1;
    }
    x->has_length = true;
    x->length = n;
    if (gl_response_complete_head(x) < 0) {
        return -1;
    }
    n = x->no_body ? 0 : n;
    a = gl_file_answer_new(&engine->answers, x->req, -1);
    if (a == NULL ||
        gl_file_answer_add(a, (struct gl_str){x->head, x->head_n}, 0, 0) <
            0 ||
        gl_file_answer_add(a, (struct gl_str){reason, n}, 0, 0) < 0) {
        gl_file_answer_free(a);
        PyErr_NoMemory();
        return -1;
    }
    return keep(x, a, n);
}

static void
report(GlExchange *x, int error)
{
    char name[256], text[400];

    (void)gl_log_escape(name, sizeof(name), x->sendfile, strlen(x->sendfile));
    (void)PyOS_snprintf(text, sizeof(text), "X-Sendfile: %s: %s", name,
                        error == -ENOENT
                            ? "no such file in a folder of --x-sendfile"
                            : strerror(-error));
    gl_engine_report(gl_engine_of_pool(x->core->pool), text);
}

int
gl_sendfile_begin(GlExchange *x)
{
    struct gl_static *s = gl_engine_of_pool(x->core->pool)->files;
    struct gl_str name = {x->sendfile, strlen(x->sendfile)};
    struct stat info;
    int fd = gl_static_open_sendfile(s, name, &info);

    if (fd < 0) {
        report(x, fd);
        return begin_refusal(x, fd == -ENOENT ? 404 : 503);
    }
    return begin_file(x, fd, &info);
}

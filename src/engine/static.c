/* static.c - requests that files answer, without a slot and without Python.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/static.h"

#include "base/gl.h"
#include "engine/representation.h"
#include "engine/static_lookup.h"
#include "proto/http_tables.h"
#include "proto/url.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A request that a file answers, while its answer is made. */
struct work {
    struct gl_static *s;
    struct gl_request *req;
    struct gl_file_path path;
    struct gl_static_found *found;
    struct gl_buf head; /* of the answer */
    int status;
};

/* --- the request ------------------------------------------------------ */

static struct gl_str
field_of(const struct gl_request *req, enum gl_field_id id)
{
    for (unsigned i = 0; i < req->head->count; i++) {
        if (req->head->fields[i].id == id) {
            return gl_span_str(req->bytes, req->head->fields[i].value);
        }
    }
    return (struct gl_str){0};
}

static struct gl_str
method_of(const struct gl_request *req)
{
    return gl_span_str(req->bytes, req->head->method);
}

static bool
is_read(const struct gl_request *req)
{
    return req->head_only || gl_str_eq(method_of(req), GL_STR("GET"));
}

/* `decoded` is memory for the path. */
static bool
read_path(struct work *w, char decoded[GL_STATIC_PATH_BYTES])
{
    struct gl_str raw = gl_span_str(w->req->bytes, w->req->head->path);
    ssize_t n;

    if (raw.n == 0) {
        raw = GL_STR("/");
    }
    if (raw.n > GL_STATIC_PATH_BYTES) {
        return false;
    }
    if (w->req->head->path_escaped) {
        n = gl_url_decode(decoded, raw);
    } else { /* or decoded already, by a proxy that speaks uwsgi */
        memcpy(decoded, raw.p, raw.n);
        n = (ssize_t)raw.n;
    }
    return n >= 0 && gl_file_path_parse(decoded, (size_t)n, &w->path) &&
           !gl_static_config_skips(&w->s->config, w->path.name);
}

/* --- the answer ------------------------------------------------------- */

/* What every answer has.  0 or -ENOMEM. */
static int
add_common(struct work *w)
{
    struct gl_request *req = w->req;
    const char *connection = !gl_request_keeps(req) ? "Connection: close\r\n"
                             : req->minor == 0 ? "Connection: keep-alive\r\n"
                                               : "";

    return gl_head_printf(&w->head, "Date: %s\r\nServer: greenloop\r\n%s\r\n",
                          gl_engine_date(w->s->answers->engine), connection);
}

static int
begin_head(struct work *w, int status)
{
    w->status = status;
    return gl_head_printf(&w->head, "HTTP/1.1 %d %s\r\n", status,
                          gl_http_reason(status));
}

static uint32_t
count_fields(struct gl_str head)
{
    uint32_t lines = 0;

    for (size_t i = 0; i < head.n; i++) {
        lines += head.p[i] == '\n';
    }
    return lines >= 2 ? lines - 2 : 0; /* the status line, the empty one */
}

/* The line of the access log, before the head's memory is used again. */
static void
note_for_log(struct work *w, struct gl_file_answer *a)
{
    const struct gl_request *req = w->req;
    const char *peer = gl_request_peer(req)->text;
    struct gl_str head = gl_buf_str(&w->head);
    const struct gl_access_entry entry = {
        .peer = {peer, strlen(peer)},
        .method = method_of(req),
        .uri = gl_span_str(req->bytes, req->head->target),
        .protocol = req->minor > 0 ? GL_STR("HTTP/1.1") : GL_STR("HTTP/1.0"),
        .referer = field_of(req, GL_FIELD_REFERER),
        .user_agent = field_of(req, GL_FIELD_USER_AGENT),
        .vars = req->head->count,
        .vars_bytes = req->head->size,
        .head_bytes = (uint32_t)head.n,
        .head_fields = count_fields(head),
        .status = w->status,
    };

    if (gl_access_log_wants(gl_engine_access_log(w->s->answers->engine))) {
        gl_file_answer_log(a, gl_access_entry_copy(&entry));
    }
}

/* Sends the head, and of the file what `r` chose; r is NULL for text. */
static int
send_answer(struct work *w, const struct gl_representation *r,
            struct gl_str text)
{
    struct gl_request *req = w->req;
    struct gl_file_answer *a =
        gl_file_answer_new(w->s->answers, req, w->found->fd);
    struct gl_str head;
    int error;

    w->found->fd = -1; /* the answer's now, in any case */
    if (a == NULL) {
        return -ENOMEM;
    }
    note_for_log(w, a);
    if (!req->head_only && text.n > 0 &&
        gl_buf_append(&w->head, text.p, text.n, SIZE_MAX) < 0) {
        gl_file_answer_free(a);
        return -ENOMEM;
    }
    head = gl_buf_str(&w->head);
    error = r != NULL ? gl_representation_add(r, a, head, req->head_only)
                      : gl_file_answer_add(a, head, 0, 0);
    if (error < 0) {
        gl_file_answer_free(a);
        return error;
    }
    gl_request_drop_head(req); /* the client may take long */
    gl_file_answer_run(a, true);
    return 0;
}

/* An answer with the reason as its text; `more`: further fields. */
static int
send_text(struct work *w, int status, const char *more)
{
    struct gl_str text = {gl_http_reason(status),
                          strlen(gl_http_reason(status))};

    if (begin_head(w, status) < 0 ||
        gl_head_printf(&w->head,
                       "Content-Type: text/plain; charset=utf-8\r\n"
                       "Content-Length: %zu\r\n%s",
                       text.n, more) < 0 ||
        add_common(w) < 0) {
        return -ENOMEM;
    }
    return send_answer(w, NULL, text);
}

/* The path as it may stand in a field: whatever was not encoded, and begins
 * no other address. */
static int
add_encoded_path(struct work *w)
{
    for (size_t i = 0; i < w->path.name.n; i++) {
        unsigned char c = (unsigned char)w->path.name.p[i];
        bool plain = (gl_http_class[c] & GL_CLASS_HOST) || c == '/';

        if (gl_head_printf(&w->head, plain ? "%c" : "%%%02X", c) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int
send_redirect(struct work *w)
{
    struct gl_str query = gl_span_str(w->req->bytes, w->req->head->query);

    if (begin_head(w, 301) < 0 ||
        gl_head_printf(&w->head, "Content-Length: 0\r\nLocation: ") < 0 ||
        add_encoded_path(w) < 0 ||
        gl_head_printf(&w->head, query.n > 0 ? "/?" : "/") < 0 ||
        gl_buf_append(&w->head, query.p, query.n, SIZE_MAX) < 0 ||
        gl_head_printf(&w->head, "\r\n") < 0 || add_common(w) < 0) {
        return -ENOMEM;
    }
    return send_answer(w, NULL, GL_STR(""));
}

/* What is the same in 200, 206 and 304. */
static int
add_policy(struct work *w)
{
    const struct gl_static_config *c = &w->s->config;

    if (w->found->varies &&
        gl_head_printf(&w->head, "Vary: Accept-Encoding\r\n") < 0) {
        return -ENOMEM;
    }
    if (w->found->coding.n > 0 && w->status != 304 &&
        gl_head_printf(&w->head, "Content-Encoding: %s\r\n",
                       w->found->coding.p) < 0) {
        return -ENOMEM;
    }
    return c->has_max_age
               ? gl_head_printf(&w->head, "Cache-Control: max-age=%u\r\n",
                                c->max_age)
               : 0;
}

static int
send_file(struct work *w)
{
    struct gl_representation r = {.coding = w->found->coding};
    struct gl_conditions c;
    char *joined;

    r.type = gl_static_config_type(
        &w->s->config,
        (struct gl_str){w->found->name, strlen(w->found->name)});
    if (gl_representation_conditions(w->req->bytes, w->req->head, &c,
                                     &joined) < 0) {
        return -ENOMEM;
    }
    if (w->req->head_only) {
        c.range.p = NULL; /* RFC 9110, 14.2: for GET alone */
    }
    gl_representation_choose(&r, &c, &w->found->info);
    free(joined);
    if (begin_head(w, r.selection.status) < 0) {
        return -ENOMEM;
    }
    if (r.selection.status == 412) {
        gl_buf_fini(&w->head);
        return send_text(w, 412, "");
    }
    if ((r.selection.status != 304 &&
         gl_representation_body_fields(&r, &w->head) < 0) ||
        gl_representation_validators(&r, &w->head) < 0 ||
        gl_representation_range_fields(&r, &w->head) < 0 ||
        add_policy(w) < 0 || add_common(w) < 0) {
        return -ENOMEM;
    }
    return send_answer(w, &r, GL_STR(""));
}

/* --- putting it together ---------------------------------------------- */

/* Answers what was found.  0, or -ENOMEM: nothing was answered. */
static int
answer_found(struct work *w)
{
    if (!is_read(w->req)) {
        return send_text(w, 405, "Allow: GET, HEAD\r\n");
    }
    if (w->found->redirects) {
        return send_redirect(w);
    }
    gl_static_choose_coding(
        &w->s->config, field_of(w->req, GL_FIELD_ACCEPT_ENCODING), w->found);
    return send_file(w);
}

/* There may be a file, but it cannot be opened now. */
static int
answer_lack(struct work *w, int error)
{
    bool told = w->s->told;
    int sent;

    w->s->told = true;
    w->req->keep_alive = false; /* which frees one */
    sent = send_text(w, 503, "");
    if (!told) { /* last: a log may run anything, the engine too */
        gl_log(gl_engine_log(w->s->answers->engine), GL_LOG_WARNING,
               "files cannot be opened: %s%s", strerror(-error),
               error == -EMFILE
                   ? "; raise the limit of open files (ulimit -n)"
                   : "");
    }
    return sent;
}

static bool
serve(struct work *w)
{
    int result = gl_static_lookup(&w->s->config, &w->path, w->found);

    if (result == 0 || (w->found->checked && !is_read(w->req))) {
        gl_static_found_fini(w->found);
        return false;
    }
    w->s->served++;
    if (result > 0) {
        w->s->told = false;
        result = answer_found(w);
    } else {
        result = answer_lack(w, result);
    }
    gl_buf_fini(&w->head);
    gl_static_found_fini(w->found);
    if (result < 0) {
        gl_request_finish(w->req, false);
    }
    return true;
}

bool
gl_static_try(struct gl_static *s, struct gl_request *req)
{
    struct gl_static_found found; /* large: filled by the look-up */
    struct work w = {.s = s, .req = req, .found = &found};
    char decoded[GL_STATIC_PATH_BYTES];

    return read_path(&w, decoded) && serve(&w);
}

/* `name` beneath the folder, or without it, where it is a whole path. */
static bool
cut_folder(struct gl_str folder, struct gl_str *name)
{
    if (name->n == 0 || name->p[0] != '/') {
        return name->n > 0;
    }
    if (name->n <= folder.n + 1 || memcmp(name->p, folder.p, folder.n) != 0 ||
        name->p[folder.n] != '/') {
        return false;
    }
    (void)gl_str_take(name, folder.n + 1);
    return true;
}

static int
open_in_folder(struct gl_static *s, const char *folder, struct gl_str name,
               struct stat *ret_info)
{
    const struct gl_beneath_safe safe = gl_static_config_safe(&s->config);
    char text[GL_STATIC_PATH_BYTES];
    int root_fd, fd;

    if (name.n >= sizeof(text) || memchr(name.p, '\0', name.n) != NULL) {
        return -ENOENT;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    root_fd = gl_beneath_root(folder);
    if (root_fd < 0) {
        return root_fd;
    }
    fd = gl_beneath_open(root_fd, text, &safe, ret_info);
    close(root_fd);
    if (fd >= 0 && !S_ISREG(ret_info->st_mode)) {
        close(fd);
        fd = -ENOENT;
    }
    return fd;
}

int
gl_static_open_sendfile(struct gl_static *s, struct gl_str name,
                        struct stat *ret_info)
{
    const struct gl_static_pairs *folders =
        &s->config.lists[GL_STATIC_SENDFILE];
    int fd = -ENOENT;

    for (size_t i = 0; i < folders->count && fd == -ENOENT; i++) {
        struct gl_str rest = name;

        if (cut_folder(folders->items[i].key, &rest)) {
            fd = open_in_folder(s, folders->items[i].key.p, rest, ret_info);
        }
    }
    return fd;
}

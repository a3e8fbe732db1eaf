/* forwarded.c - X-Forwarded-* and Forwarded.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/forwarded.h"

#include "base/gl.h"
#include "proto/http1_head.h"
#include "proto/http_tables.h"

/* A chain of so many trusted proxies is none: a client may have written it,
 * to have us compare for long. */
#define HOPS_MAX 64

static const struct {
    struct gl_str name;
    unsigned bit;
} fields[] = {
    {{"x-forwarded-for", 15}, GL_TRUST_X_FOR},
    {{"x-forwarded-proto", 17}, GL_TRUST_X_PROTO},
    {{"x-forwarded-host", 16}, GL_TRUST_X_HOST},
    {{"x-forwarded-port", 16}, GL_TRUST_X_PORT},
    {{"x-forwarded-ssl", 15}, GL_TRUST_X_SSL},
    {{"forwarded", 9}, GL_TRUST_FORWARDED},
};

unsigned
gl_trust_field(struct gl_str name)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(fields); i++) {
        if (gl_http_equals(name, fields[i].name)) {
            return fields[i].bit;
        }
    }
    return 0;
}

/* --- lists, from their right end -------------------------------------- */

/* The lines of one field, and where reading is. */
struct backwards {
    const char *bytes;
    const struct gl_head *head;
    struct gl_str name; /* lower-case */
    unsigned before;    /* fields that were not looked at yet */
    bool inside;        /* `left` is of a line that is not through */
    struct gl_str left; /* what is left of it */
};

static struct backwards
backwards_from_end(const char *bytes, const struct gl_head *head,
                   struct gl_str name)
{
    return (struct backwards){bytes, head, name, head->count, false, {0}};
}

/* Goes to the last line of the field that was not read; false: none. */
static bool
line_before(struct backwards *b)
{
    while (b->before > 0) {
        const struct gl_field *field = &b->head->fields[--b->before];

        if (gl_http_equals(gl_span_str(b->bytes, field->name), b->name)) {
            b->left = gl_span_str(b->bytes, field->value);
            b->inside = true;
            return true;
        }
    }
    return false;
}

static struct gl_str
trim(struct gl_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        (void)gl_str_take(&s, 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

/* Where the quoted string begins that ends just before `end`, with the quote
 * at end - 1; `end` if nothing opens it. */
static size_t
quote_before(struct gl_str s, size_t end)
{
    for (size_t i = end - 1; i > 0; i--) {
        size_t slashes = 0;

        if (s.p[i - 1] != '"') {
            continue;
        }
        while (slashes < i - 1 && s.p[i - 2 - slashes] == '\\') {
            slashes++;
        }
        if (slashes % 2 == 0) {
            return i - 1;
        }
        i -= slashes; /* a quote that is escaped; its slashes are none */
    }
    return end;
}

/* Where the last element of a list begins, with quoted strings as wholes.
 * From the right, so that what a client wrote cannot open a quote that takes
 * in what the proxy appended. */
static size_t
last_element(struct gl_str s, bool quotes)
{
    size_t at = s.n;

    while (at > 0 && s.p[at - 1] != ',') {
        size_t open = at - 1;

        if (quotes && s.p[at - 1] == '"') {
            open = quote_before(s, at);
            if (open == at) {
                return 0; /* all of it is one bad element */
            }
        }
        at = open;
    }
    return at;
}

/* Takes the last element that was not read, and is not empty; false: there
 * is none. */
static bool
take_last(struct backwards *b, bool quotes, struct gl_str *ret_item)
{
    while (b->inside || line_before(b)) {
        size_t at = last_element(b->left, quotes);
        struct gl_str item =
            trim((struct gl_str){b->left.p + at, b->left.n - at});

        b->inside = at > 0;
        b->left.n = at > 0 ? at - 1 : 0; /* without the comma */
        if (item.n > 0) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

/* --- nodes ------------------------------------------------------------ */

static bool
parse_port(struct gl_str text, uint16_t *ret_port)
{
    unsigned value = 0;

    if (text.n == 0 || text.n > 5) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text.p[i] - '0');
    }
    if (value == 0 || value > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)value;
    return true;
}

struct node {
    struct gl_address address;
    uint16_t port; /* 0: none */
};

/* "[IPv6]" and "[IPv6]:port". */
static bool
parse_bracketed(struct gl_str text, struct node *node)
{
    const char *end = memchr(text.p, ']', text.n);
    size_t n = end != NULL ? (size_t)(end - text.p) : 0;

    if (n < 2 || memchr(text.p, ':', n) == NULL ||
        !gl_address_parse((struct gl_str){text.p + 1, n - 1},
                          &node->address)) {
        return false;
    }
    (void)gl_str_take(&text, n + 1);
    return text.n == 0 ||
           (text.p[0] == ':' &&
            parse_port((struct gl_str){text.p + 1, text.n - 1}, &node->port));
}

/* An address, perhaps with a port.  `bare_v6`: IPv6 may do without its
 * brackets, and then has no port. */
static bool
parse_node(struct gl_str text, bool bare_v6, struct node *ret_node)
{
    struct node node = {.port = 0};
    const char *colon;
    size_t n;
    bool good;

    if (text.n == 0) {
        return false;
    }
    colon = memchr(text.p, ':', text.n);
    n = colon != NULL ? (size_t)(colon - text.p) : text.n;
    if (text.p[0] == '[') {
        good = parse_bracketed(text, &node);
    } else if (colon == NULL) {
        good = gl_address_parse(text, &node.address);
    } else if (memchr(colon + 1, ':', text.n - n - 1) != NULL) {
        good = bare_v6 && gl_address_parse(text, &node.address);
    } else {
        good = gl_address_parse((struct gl_str){text.p, n}, &node.address) &&
               parse_port((struct gl_str){text.p + n + 1, text.n - n - 1},
                          &node.port);
    }
    if (good) {
        *ret_node = node;
    }
    return good;
}

static void
take_client(struct gl_forwarded *f, const struct node *node)
{
    f->client = node->address;
    f->client_port = node->port;
    f->has_client = true;
}

/* --- values ----------------------------------------------------------- */

static enum gl_forwarded_scheme
parse_scheme(struct gl_str text)
{
    /* Some proxies name the schemes of WebSocket (RFC 6455, section 3). */
    if (gl_http_equals(text, GL_STR("https")) ||
        gl_http_equals(text, GL_STR("wss"))) {
        return GL_SCHEME_HTTPS;
    }
    if (gl_http_equals(text, GL_STR("http")) ||
        gl_http_equals(text, GL_STR("ws"))) {
        return GL_SCHEME_HTTP;
    }
    return GL_SCHEME_UNSAID;
}

uint16_t
gl_forwarded_host_port(struct gl_str host, struct gl_str *ret_name)
{
    size_t n = host.n;
    uint16_t port = 0;

    while (n > 0 && host.p[n - 1] >= '0' && host.p[n - 1] <= '9') {
        n--;
    }
    if (n == 0 || host.p[n - 1] != ':') {
        *ret_name = host; /* a colon within brackets comes before a ']' */
        return 0;
    }
    *ret_name = (struct gl_str){host.p, n - 1};
    (void)parse_port((struct gl_str){host.p + n, host.n - n}, &port);
    return port;
}

/* A host, with or without a port from 1 to 65535. */
static bool
is_host(struct gl_str text)
{
    struct gl_str name;

    return gl_http1_is_authority(text) &&
           (gl_forwarded_host_port(text, &name) > 0 || name.n == text.n);
}

/* --- X-Forwarded-* ---------------------------------------------------- */

static void
read_x_for(struct gl_forwarded *f, const struct gl_trust *trust,
           struct backwards list)
{
    struct node node = {.port = 0};
    struct gl_str item;
    bool found = false;

    for (int hops = 0; take_last(&list, false, &item); hops++) {
        if (hops == HOPS_MAX || !parse_node(item, true, &node)) {
            return;
        }
        found = true;
        if (!gl_networks_have(&trust->proxies, &node.address)) {
            break;
        }
    }
    if (found) {
        take_client(f, &node);
    }
}

static bool
last_of(const char *bytes, const struct gl_head *head, struct gl_str name,
        struct gl_str *ret_item)
{
    struct backwards list = backwards_from_end(bytes, head, name);

    return take_last(&list, false, ret_item);
}

static void
read_x_fields(struct gl_forwarded *f, unsigned which, const char *bytes,
              const struct gl_head *head)
{
    struct gl_str item;

    if ((which & GL_TRUST_X_PROTO) &&
        last_of(bytes, head, GL_STR("x-forwarded-proto"), &item)) {
        f->scheme = parse_scheme(item);
    }
    if ((which & GL_TRUST_X_SSL) && f->scheme == GL_SCHEME_UNSAID &&
        last_of(bytes, head, GL_STR("x-forwarded-ssl"), &item) &&
        gl_http_equals(item, GL_STR("on"))) {
        f->scheme = GL_SCHEME_HTTPS;
    }
    if ((which & GL_TRUST_X_HOST) &&
        last_of(bytes, head, GL_STR("x-forwarded-host"), &item) &&
        is_host(item)) {
        f->host = item;
    }
    if ((which & GL_TRUST_X_PORT) &&
        last_of(bytes, head, GL_STR("x-forwarded-port"), &item)) {
        (void)parse_port(item, &f->port); /* a bad one is unsaid */
    }
}

/* --- Forwarded -------------------------------------------------------- */

/* One element: what its proxy says.  Values without their quotes. */
struct element {
    struct gl_str node, scheme, host;
    unsigned seen;
};

/* Takes a token, or the inside of a quoted string.  Returns whether there
 * was one; *ret_plain: nothing in it is escaped. */
static bool
take_value(struct gl_str *s, struct gl_str *ret_value, bool *ret_plain)
{
    size_t n = 0;

    *ret_plain = true;
    if (s->n == 0 || s->p[0] != '"') {
        while (n < s->n && s->p[n] != ';') {
            n++;
        }
        *ret_value = trim(gl_str_take(s, n));
        return gl_http_is_token(*ret_value);
    }
    (void)gl_str_take(s, 1);
    while (n < s->n && s->p[n] != '"') {
        *ret_plain = *ret_plain && s->p[n] != '\\';
        n += s->p[n] == '\\' ? 2 : 1;
    }
    if (n >= s->n) {
        return false;
    }
    *ret_value = gl_str_take(s, n);
    (void)gl_str_take(s, 1);
    return true;
}

/* Keeps a pair that is of interest.  False: it came before, or cannot be one
 * of ours as it is written. */
static bool
keep_pair(struct element *e, struct gl_str name, struct gl_str value,
          bool plain)
{
    const struct {
        struct gl_str name;
        struct gl_str *value;
    } ours[] = {
        {{"for", 3}, &e->node},
        {{"proto", 5}, &e->scheme},
        {{"host", 4}, &e->host},
    };

    for (unsigned i = 0; i < GL_ARRAY_LEN(ours); i++) {
        if (gl_http_equals(name, ours[i].name)) {
            if ((e->seen & (1U << i)) || !plain || value.n == 0) {
                return false;
            }
            e->seen |= 1U << i;
            *ours[i].value = value;
        }
    }
    return true;
}

/* Reads an element (section 4): pairs between semicolons, around which
 * blanks are passed over though the grammar has none. */
static bool
parse_element(struct gl_str text, struct element *ret_element)
{
    struct element e = {.seen = 0};

    while (text.n > 0) {
        const char *equals = memchr(text.p, '=', text.n);
        struct gl_str name, value;
        bool plain;

        if (text.p[0] == ';') { /* a pair may be empty */
            text = trim((struct gl_str){text.p + 1, text.n - 1});
            continue;
        }
        if (equals == NULL) {
            return false;
        }
        name = gl_str_take(&text, (size_t)(equals - text.p));
        (void)gl_str_take(&text, 1);
        if (!gl_http_is_token(name) || !take_value(&text, &value, &plain) ||
            !keep_pair(&e, name, value, plain)) {
            return false;
        }
        text = trim(text);
        if (text.n > 0 && text.p[0] != ';') {
            return false;
        }
    }
    *ret_element = e;
    return true;
}

/* Whether a node hides who it is (section 6.2 and 6.3). */
static bool
is_hidden(struct gl_str node)
{
    return node.n == 0 || node.p[0] == '_' ||
           gl_http_equals(node, GL_STR("unknown")) ||
           (node.n > 8 && node.p[7] == ':' &&
            gl_http_equals((struct gl_str){node.p, 7}, GL_STR("unknown")));
}

/* All is told by the element of the proxy that saw the client.  A bad scheme
 * or host alone is unsaid. */
static void
take_element(struct gl_forwarded *f, const struct element *e)
{
    f->scheme = parse_scheme(e->scheme);
    if (is_host(e->host)) {
        f->host = e->host;
    }
}

/* "address:_name" hides the port alone. */
static struct gl_str
without_hidden_port(struct gl_str node)
{
    for (size_t i = 0; i + 1 < node.n; i++) {
        if (node.p[i] == ':' && node.p[i + 1] == '_') {
            return (struct gl_str){node.p, i};
        }
    }
    return node;
}

static void
read_forwarded(struct gl_forwarded *f, const struct gl_trust *trust,
               struct backwards list)
{
    struct element e = {.seen = 0};
    struct node node = {.port = 0};
    struct gl_str item;
    bool found = false;

    for (int hops = 0; take_last(&list, true, &item); hops++) {
        if (hops == HOPS_MAX || !parse_element(item, &e)) {
            return;
        }
        if (is_hidden(e.node)) {
            take_element(f, &e); /* the peer stays who it is */
            return;
        }
        if (!parse_node(without_hidden_port(e.node), false, &node)) {
            return;
        }
        found = true;
        if (!gl_networks_have(&trust->proxies, &node.address)) {
            break;
        }
    }
    if (found) {
        take_client(f, &node);
        take_element(f, &e);
    }
}

struct gl_forwarded
gl_forwarded_read(const struct gl_trust *trust, const char *bytes,
                  const struct gl_head *head)
{
    struct gl_forwarded f = {.has_client = false};

    if (trust->fields & GL_TRUST_X_FOR) {
        read_x_for(
            &f, trust,
            backwards_from_end(bytes, head, GL_STR("x-forwarded-for")));
    }
    read_x_fields(&f, trust->fields, bytes, head);
    if (trust->fields & GL_TRUST_FORWARDED) {
        read_forwarded(&f, trust,
                       backwards_from_end(bytes, head, GL_STR("forwarded")));
    }
    return f;
}

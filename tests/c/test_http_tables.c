/* test_http_tables.c - byte classes, field names, lists and reasons.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_tables.h"

#include "base/gl.h"
#include "check.h"

#include <ctype.h>

static struct gl_str
str(const char *text)
{
    return (struct gl_str){text, strlen(text)};
}

/* The classes again, from the words of the RFCs. */
static void
test_classes(void)
{
    for (int b = 0; b < 256; b++) {
        bool ascii = b > 0 && b < 128, alnum = ascii && isalnum(b);
        uint8_t class = gl_http_class[b];

        check_case("byte %d", b);
        CHECK(!!(class & GL_CLASS_TOKEN) ==
              (alnum || (ascii && strchr("!#$%&'*+-.^_`|~", b) != NULL)));
        CHECK(!!(class & GL_CLASS_VALUE) ==
              (b == '\t' || (b >= 0x20 && b != 0x7f)));
        CHECK(!!(class & GL_CLASS_TARGET) ==
              (b > 0x20 && b < 0x7f && b != '#'));
        CHECK(!!(class & GL_CLASS_DIGIT) == (b >= '0' && b <= '9'));
        CHECK(!!(class & GL_CLASS_HEX) == (ascii && isxdigit(b)));
        CHECK(!!(class & GL_CLASS_HOST) ==
              (alnum || (ascii && strchr("-._~!$&'()*+,;=", b) != NULL)));
    }
}

/* Looks a name up in memory of exactly its size. */
static enum gl_field_id
look_up(const char *name, size_t n)
{
    char *exact = check_copy(name, n);
    enum gl_field_id id = gl_field_lookup((struct gl_str){exact, n});

    free(exact);
    return id;
}

/* Each known name in each case of each letter, and its neighbours. */
static void
test_names(void)
{
    for (int i = GL_FIELD_UNKNOWN + 1; i < GL_FIELD_COUNT; i++) {
        struct gl_str known = gl_field_name((enum gl_field_id)i);
        char name[64];

        check_case("%.*s", (int)known.n, known.p);
        (void)snprintf(name, sizeof(name), "%.*sx", (int)known.n, known.p);
        CHECK(known.n > 0 && look_up(name, known.n) == (enum gl_field_id)i);
        CHECK(look_up(name, known.n - 1) != (enum gl_field_id)i);
        CHECK(look_up(name, known.n + 1) == GL_FIELD_UNKNOWN);
        for (size_t at = 0; at < known.n; at++) {
            CHECK(islower(name[at]) || name[at] == '-');
            name[at] = (char)toupper(name[at]);
            CHECK(look_up(name, known.n) == (enum gl_field_id)i);
            name[at] = '_';
            CHECK(look_up(name, known.n) == GL_FIELD_UNKNOWN);
            name[at] = (char)toupper(known.p[at]);
        }
        CHECK(look_up(name, known.n) == (enum gl_field_id)i);
    }
    check_case("unknown names");
    CHECK(look_up("", 0) == GL_FIELD_UNKNOWN);
    CHECK(look_up("x", 1) == GL_FIELD_UNKNOWN);
    CHECK(gl_field_name(GL_FIELD_UNKNOWN).n == 0);
    for (size_t n = 1; n < 300; n++) {
        char name[300];

        memset(name, 't', n);
        CHECK(look_up(name, n) == GL_FIELD_UNKNOWN);
    }
}

/* A name that agrees with "host" in its ends, and in the 16 low bits of its
 * length. */
static void
test_long_name(void)
{
    static char name[(1 << 16) + 4];

    check_case("long name");
    memset(name, 't', sizeof(name));
    name[0] = 'h';
    CHECK(look_up(name, sizeof(name)) == GL_FIELD_UNKNOWN);
}

/* Every byte at every place of values of every length up to 40. */
static void
test_values(void)
{
    for (size_t n = 0; n <= 40; n++) {
        char *value =
            check_copy("----------------------------------------", n);
        struct gl_str s = {value, n};

        check_case("value of %zu", n);
        CHECK(gl_http_is_value(s));
        CHECK(gl_http_is_token(s) == (n > 0));
        for (size_t at = 0; at < n; at++) {
            for (int b = 0; b < 256; b++) {
                value[at] = (char)b;
                CHECK(gl_http_is_value(s) ==
                      !!(gl_http_class[b] & GL_CLASS_VALUE));
                CHECK(gl_http_is_token(s) ==
                      (at == 0 && (gl_http_class[b] & GL_CLASS_TOKEN)));
            }
            value[at] = '\t'; /* which must not hide what follows it */
        }
        free(value);
    }
}

static void
test_equals(void)
{
    check_case("equals");
    CHECK(gl_http_equals(str("100-Continue"), str("100-continue")));
    CHECK(gl_http_equals(str(""), str("")));
    CHECK(!gl_http_equals(str("close"), str("closed")));
    CHECK(!gl_http_equals(str("cl@se"), str("cl`se")));
    CHECK(!gl_http_equals(str("a[b"), str("a{b")));
    CHECK(!gl_http_equals(str("keep\ralive"), str("keep-alive")));
}

static const struct {
    const char *list;
    const char *items; /* each followed by '|' */
    bool has_close;
} lists[] = {
    {"", "", false},
    {"close", "close|", true},
    {"CLOSE", "CLOSE|", true},
    {" \tclose\t ", "close|", true},
    {"a,b , close", "a|b|close|", true},
    {"close,", "close|", true},
    {",close", "|close|", true},
    {",", "|", false},
    {" , ,a", "||a|", false},
    {"closed, xclose, close x", "closed|xclose|close x|", false},
};

static void
test_lists(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(lists); i++) {
        size_t n = strlen(lists[i].list);
        char *exact = check_copy(lists[i].list, n), items[64] = "";
        struct gl_str rest = {exact, n}, item;

        check_case("list '%s'", lists[i].list);
        CHECK(gl_http_list_has(rest, GL_STR("close")) == lists[i].has_close);
        while (gl_http_list_next(&rest, &item)) {
            size_t at = strlen(items);

            (void)snprintf(items + at, sizeof(items) - at, "%.*s|",
                           (int)item.n, item.p);
        }
        CHECK(strcmp(items, lists[i].items) == 0);
        free(exact);
    }
}

static void
test_reasons(void)
{
    check_case("reasons");
    CHECK(strcmp(gl_http_reason(200), "OK") == 0);
    CHECK(strcmp(gl_http_reason(414), "URI Too Long") == 0);
    CHECK(strcmp(gl_http_reason(431), "Request Header Fields Too Large") ==
          0);
    CHECK(strcmp(gl_http_reason(299), "Unknown") == 0);
    CHECK(strcmp(gl_http_reason(-1), "Unknown") == 0);
    for (int status = -1; status < 1000; status++) {
        CHECK(gl_http_is_value(str(gl_http_reason(status))));
    }
}

int
main(void)
{
    test_classes();
    test_names();
    test_long_name();
    test_values();
    test_equals();
    test_lists();
    test_reasons();
    return check_end();
}

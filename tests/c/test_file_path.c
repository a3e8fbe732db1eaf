/* test_file_path.c - paths of requests as names of files.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/file_path.h"

#include "base/gl.h"
#include "check.h"

static const struct {
    const char *path;
    const char *name; /* NULL: names no file that is served */
    bool slash;
} rows[] = {
    {"/", "", true},
    {"//", "", true},
    {"/a", "/a", false},
    {"/a/", "/a", true},
    {"/a//", "/a", true},
    {"/a/b.c", "/a/b.c", false},
    {"//a///b", "/a/b", false},
    {"/a b", "/a b", false},
    {"/a\\..\\b", "/a\\..\\b", false}, /* a byte like others, here */
    {"/a..", "/a..", false},
    {"/a../b", "/a../b", false},
    {"/\xc0\xae\xc0\xae/a", "/\xc0\xae\xc0\xae/a", false}, /* overlong */
    {"/.well-known", "/.well-known", false},
    {"/.well-known/acme/x", "/.well-known/acme/x", false},
    {"//.well-known/x", "/.well-known/x", false},
    {"", NULL, false},
    {"a", NULL, false},
    {"*", NULL, false},
    {"..", NULL, false},
    {"/.", NULL, false},
    {"/..", NULL, false},
    {"/../a", NULL, false},
    {"/a/..", NULL, false},
    {"/a/../b", NULL, false},
    {"/a/./b", NULL, false},
    {"/...", NULL, false},
    {"/.git/config", NULL, false},
    {"/a/.env", NULL, false},
    {"/a/.well-known/x", NULL, false},
    {"/.well-known/.x", NULL, false},
    {"/.well-known2", NULL, false},
    {"//..//", NULL, false},
};

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].path);
        char *path = check_copy(rows[i].path, n);
        struct gl_file_path found = {.slash = false};
        bool is_name = gl_file_path_parse(path, n, &found);

        check_case("%s", rows[i].path);
        if (CHECK(is_name == (rows[i].name != NULL)) && is_name) {
            CHECK(
                gl_str_eq(found.name, (struct gl_str){rows[i].name,
                                                      strlen(rows[i].name)}));
            CHECK(found.slash == rows[i].slash);
        }
        free(path);
    }
}

static void
test_nul(void)
{
    char path[] = {'/', 'a', '\0', 'b'};
    struct gl_file_path found;

    CHECK(!gl_file_path_parse(path, sizeof(path), &found));
}

int
main(void)
{
    test_rows();
    test_nul();
    return check_end();
}

/* fuzz_file_path.c - any bytes as the decoded path of a request.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/file_path.h"

static void
check_name(struct gl_str name)
{
    REQUIRE(name.n == 0 || name.p[0] == '/');
    REQUIRE(name.n == 0 || name.p[name.n - 1] != '/');
    for (size_t i = 0; i < name.n; i++) {
        REQUIRE(name.p[i] != '\0');
        if (name.p[i] == '/') {
            REQUIRE(i + 1 < name.n && name.p[i + 1] != '/');
            REQUIRE(name.p[i + 1] != '.' ||
                    (i == 0 && name.n >= 12 &&
                     memcmp(name.p, "/.well-known", 12) == 0));
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *path = fuzz_copy(bytes, n);
    struct gl_file_path found, again;

    if (gl_file_path_parse(path, n, &found)) {
        char *copy = fuzz_copy(found.name.p, found.name.n);

        check_name(found.name);
        REQUIRE(found.name.n == 0 ||
                (gl_file_path_parse(copy, found.name.n, &again) &&
                 gl_str_eq(found.name, again.name) && !again.slash));
        free(copy);
    }
    free(path);
    return 0;
}

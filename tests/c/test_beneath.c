/* test_beneath.c - nothing outside of a root is opened, in either way.
 *
 * Linked with --wrap for syscall, so that openat2 can be missing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/beneath.h"

#include "base/gl.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

long __wrap_syscall(long number, long a, long b, long c, long d, long e);
long __real_syscall(long number, long a, long b, long c, long d, long e);

static struct {
    int refuse;   /* errno of every openat2; 0: none */
    char top[64]; /* the temporary folder */
} state;

long
__wrap_syscall(long number, long a, long b, long c, long d, long e)
{
    if (state.refuse != 0) {
        errno = state.refuse;
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e);
}

static const struct {
    const char *name;
    const char *content; /* NULL: not opened; "/": a folder */
} rows[] = {
    {"file", "inside"},
    {"sub/file", "below"},
    {"sub", "/"},
    {".", "/"},
    {"to_file", "inside"},
    {"sub/up", "inside"},
    {"whole", "inside"}, /* an absolute link, to what lies inside */
    {"to_safe", "safe"},
    {"safe_folder/file", "safe"},
    {"there_and_back", "inside"},
    {"missing", NULL},
    {"", NULL},
    {"file/", NULL},
    {"file/x", NULL},
    {"..", NULL},
    {"../secret", NULL},
    {"sub/../../secret", NULL},
    {"to_secret", NULL},
    {"whole_secret", NULL},
    {"to_top/secret", NULL},
    {"to_beside/secret", NULL}, /* its name begins with the root's */
    {"loop", NULL},
    {"magic/environ", NULL},
    {"magic_root/etc/passwd", NULL},
    {"fifo", NULL},
    {"socket", NULL},
    {"null", NULL},
    {"/etc/passwd", NULL},
};

static void
write_file(const char *name, const char *content)
{
    FILE *file = fopen(name, "w");

    if (file == NULL || fputs(content, file) < 0 || fclose(file) != 0) {
        abort();
    }
}

/* A link whose target begins with the name of the temporary folder. */
static void
link_whole(const char *rest, const char *name)
{
    char target[128];

    (void)snprintf(target, sizeof(target), "%s%s", state.top, rest);
    if (symlink(target, name) < 0) {
        abort();
    }
}

static void
make_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    if (fd < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        abort();
    }
    close(fd);
}

static void
make_tree(void)
{
    static const char *const links[][2] = {
        {"file", "served/to_file"},
        {"../file", "served/sub/up"},
        {"../secret", "served/to_secret"},
        {"..", "served/to_top"},
        {"../served_beside", "served/to_beside"},
        {"loop", "served/loop"},
        {"/proc/self", "served/magic"},
        {"/proc/self/root", "served/magic_root"},
        {"/dev/null", "served/null"},
        {"../served/file", "served/there_and_back"},
    };

    (void)snprintf(state.top, sizeof(state.top), "/tmp/beneath-XXXXXX");
    if (mkdtemp(state.top) == NULL || chdir(state.top) < 0 ||
        mkdir("served", 0755) < 0 || mkdir("served/sub", 0755) < 0 ||
        mkdir("safe", 0755) < 0 || mkdir("served_beside", 0755) < 0 ||
        mkfifo("served/fifo", 0644) < 0) {
        abort();
    }
    write_file("secret", "secret");
    write_file("served_beside/secret", "secret");
    write_file("safe/file", "safe");
    write_file("served/file", "inside");
    write_file("served/sub/file", "below");
    make_socket("served/socket");
    for (size_t i = 0; i < GL_ARRAY_LEN(links); i++) {
        if (symlink(links[i][0], links[i][1]) < 0) {
            abort();
        }
    }
    link_whole("/served/file", "served/whole");
    link_whole("/secret", "served/whole_secret");
    link_whole("/safe/file", "served/to_safe");
    link_whole("/safe", "served/safe_folder");
}

static void
remove_tree(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", state.top);
    CHECK(chdir("/") == 0 && system(command) == 0);
}

static void
check_row(size_t row, int root_fd, const struct gl_beneath_safe *safe)
{
    const char *content = rows[row].content;
    struct stat info = {.st_mode = 0};
    char got[16] = "";
    int fd = gl_beneath_open(root_fd, rows[row].name, safe, &info);

    check_case("%s, refused with %d", rows[row].name, state.refuse);
    if (content == NULL) {
        CHECK(fd == -ENOENT);
        return;
    }
    if (!CHECK(fd >= 0)) {
        return;
    }
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    if (S_ISDIR(info.st_mode)) {
        CHECK(strcmp(content, "/") == 0);
    } else {
        CHECK(read(fd, got, sizeof(got) - 1) == (ssize_t)strlen(content));
        CHECK(strcmp(got, content) == 0);
    }
    close(fd);
}

static int
lowest_free(void)
{
    int fd = dup(STDIN_FILENO);

    close(fd);
    return fd;
}

static void
test_rows(int refuse)
{
    const char *const paths[] = {"missing", "safe"};
    const struct gl_beneath_safe safe = {paths, GL_ARRAY_LEN(paths)};
    int before = lowest_free(), root_fd = gl_beneath_root("served");

    if (!CHECK(root_fd >= 0)) {
        return;
    }
    state.refuse = refuse;
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        check_row(i, root_fd, &safe);
    }
    state.refuse = 0;
    close(root_fd);
    check_case("descriptors, refused with %d", refuse);
    CHECK(lowest_free() == before);
}

/* Without the safe folder its links lead nowhere. */
static void
test_unsafe(void)
{
    const struct gl_beneath_safe none = {NULL, 0};
    struct stat info;
    int root_fd = gl_beneath_root("served");

    check_case("no safe folder");
    CHECK(gl_beneath_open(root_fd, "to_safe", &none, &info) == -ENOENT);
    CHECK(gl_beneath_open(root_fd, "safe_folder/file", &none, &info) ==
          -ENOENT);
    close(root_fd);
}

static void
test_roots(void)
{
    check_case("roots");
    CHECK(gl_beneath_root("missing") == -ENOENT);
    CHECK(gl_beneath_root("secret") == -ENOENT);
}

static void
test_system_errors(void)
{
    const struct gl_beneath_safe none = {NULL, 0};
    static const int errors[] = {EMFILE, ENFILE, ENOMEM};
    struct stat info;
    int root_fd = gl_beneath_root("served");

    for (size_t i = 0; i < GL_ARRAY_LEN(errors); i++) {
        check_case("errno %d", errors[i]);
        state.refuse = errors[i];
        CHECK(gl_beneath_open(root_fd, "file", &none, &info) == -errors[i]);
    }
    state.refuse = 0;
    close(root_fd);
}

static void
test_open_file(void)
{
    struct stat info;
    int fd = gl_beneath_open_file("served/to_secret", &info);

    check_case("by its whole name");
    CHECK(fd >= 0 && info.st_size == 6);
    close(fd);
    CHECK(gl_beneath_open_file("served", &info) == -ENOENT);
    CHECK(gl_beneath_open_file("served/fifo", &info) == -ENOENT);
    CHECK(gl_beneath_open_file("missing", &info) == -ENOENT);
}

int
main(void)
{
    make_tree();
    test_rows(0);
    test_rows(ENOSYS);
    test_rows(EPERM);
    test_unsafe();
    test_roots();
    test_system_errors();
    test_open_file();
    remove_tree();
    return check_end();
}

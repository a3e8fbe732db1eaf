/* replay_main.c - gives a fuzz target kept inputs, and mutations of them.
 *
 *     replay [--mutate N SEED] FILE-OR-FOLDER...
 *
 * Every file is one input.  N mutations of them follow, the same for the
 * same files and SEED, so that a compiler without libFuzzer fuzzes too.  The
 * input that ends the program is left in ./crash-input.  Prints "N inputs".
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX_BYTES 4096 /* of a mutation */
#define FILE_MAX_BYTES (1 << 20)

struct input {
    uint8_t *bytes; /* owned */
    size_t n;
};

struct corpus {
    struct input *inputs; /* owned */
    size_t count;
};

/* Bytes that parsers treat specially. */
static const struct {
    const char *bytes;
    size_t n;
} tokens[] = {
#define TOKEN(text) {text, sizeof(text) - 1}
    TOKEN("\r\n"),
    TOKEN("\r\n\r\n"),
    TOKEN("\n"),
    TOKEN("\r"),
    TOKEN("\0"),
    TOKEN("\x7f"),
    TOKEN("\xff"),
    TOKEN(" "),
    TOKEN("\t"),
    TOKEN(":"),
    TOKEN(","),
    TOKEN(";"),
    TOKEN("\""),
    TOKEN("%"),
    TOKEN("%00"),
    TOKEN("%2f"),
    TOKEN("?"),
    TOKEN("#"),
    TOKEN("*"),
    TOKEN("@"),
    TOKEN("["),
    TOKEN("]"),
    TOKEN("/"),
    TOKEN("http://"),
    TOKEN("https://"),
    TOKEN("GET "),
    TOKEN("OPTIONS * "),
    TOKEN("CONNECT "),
    TOKEN(" HTTP/1.1\r\n"),
    TOKEN(" HTTP/1.0\r\n"),
    TOKEN(" HTTP/2.0\r\n"),
    TOKEN("Host: a\r\n"),
    TOKEN("Content-Length: 5\r\n"),
    TOKEN("Content-Length: 18446744073709551616\r\n"),
    TOKEN("Transfer-Encoding: chunked\r\n"),
    TOKEN("chunked"),
    TOKEN("Connection: close\r\n"),
    TOKEN("keep-alive"),
    TOKEN("Expect: 100-continue\r\n"),
    TOKEN("0\r\n\r\n"),
    TOKEN("1\r\nx\r\n"),
    TOKEN("ffffffffffffffff"),
    TOKEN("1000000000000000"),
    TOKEN(";a=b"),
    TOKEN("A: b\r\n"),
#undef TOKEN
};

/* --- what a crash leaves behind ---------------------------------------- */

static const uint8_t *present_bytes; /* borrowed: of the present input */
static size_t present_n;

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *
__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *
__ubsan_default_options(void)
{
    return "abort_on_error=1:halt_on_error=1:print_stacktrace=1";
}

static void
keep_input(int signal_number)
{
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);

    /* Failing, the reports on standard error are all there is. */
    (void)!write(fd, present_bytes, present_n);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void
run_input(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = (uint8_t *)fuzz_copy(bytes, n);

    present_bytes = exact;
    present_n = n;
    (void)LLVMFuzzerTestOneInput(exact, n); /* always 0 */
    free(exact);
}

/* --- the corpus -------------------------------------------------------- */

static void
fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s: %s\n", name, what, strerror(errno));
    exit(2);
}

static void
add_file(struct corpus *corpus, const char *name)
{
    FILE *file = fopen(name, "rb");
    struct input input = {malloc(FILE_MAX_BYTES), 0};

    if (file == NULL || input.bytes == NULL) {
        fail("cannot read", name);
    }
    input.n = fread(input.bytes, 1, FILE_MAX_BYTES, file);
    if (ferror(file)) {
        fail("cannot read", name);
    }
    (void)fclose(file); /* was only read */
    corpus->inputs = realloc(corpus->inputs,
                             (corpus->count + 1) * sizeof(corpus->inputs[0]));
    if (corpus->inputs == NULL) {
        fail("cannot keep", name);
    }
    corpus->inputs[corpus->count++] = input;
}

static int
is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of names, whatever the file system's is. */
static void
add_path(struct corpus *corpus, const char *name)
{
    struct dirent **entries;
    struct stat st;
    int count;

    if (stat(name, &st) < 0) {
        fail("cannot find", name);
    }
    if (!S_ISDIR(st.st_mode)) {
        add_file(corpus, name);
        return;
    }
    count = scandir(name, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        char path[4096];

        (void)snprintf(path, sizeof(path), "%s/%s", name, entries[i]->d_name);
        add_file(corpus, path);
        free(entries[i]);
    }
    if (count < 0) {
        fail("cannot list", name);
    }
    free(entries);
}

/* --- mutations --------------------------------------------------------- */

static uint64_t
next_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static size_t
below(uint64_t *random, size_t limit)
{
    return limit > 0 ? (size_t)(next_random(random) % limit) : 0;
}

/* Replaces `gone` bytes at `at` by n others, which lie elsewhere. */
static void
exchange(struct input *input, size_t at, size_t gone, const void *bytes,
         size_t n)
{
    size_t rest = input->n - at - gone;

    if (at + n + rest > INPUT_MAX_BYTES) {
        return;
    }
    memmove(input->bytes + at + n, input->bytes + at + gone, rest);
    memcpy(input->bytes + at, bytes, n);
    input->n = at + n + rest;
}

/* A piece of the input itself: repeated, moved or dropped. */
static void
mutate_piece(struct input *input, uint64_t *random)
{
    uint8_t piece[256];
    size_t from = below(random, input->n + 1);
    size_t most =
        input->n - from < sizeof(piece) ? input->n - from : sizeof(piece);
    size_t n = below(random, most + 1), at = below(random, input->n + 1);
    size_t copies = 1 + below(random, 8);

    memcpy(piece, input->bytes + from, n);
    if (next_random(random) % 2 == 0) {
        exchange(input, from, n, "", 0);
        return;
    }
    for (size_t i = 0; i < copies; i++) {
        exchange(input, at, 0, piece, n);
    }
}

static void
mutate_once(struct input *input, const struct corpus *corpus,
            uint64_t *random)
{
    size_t at = below(random, input->n + 1), token, gone;
    const struct input *other;

    switch (next_random(random) % 5) {
    case 0:
        if (at < input->n) {
            input->bytes[at] ^= (uint8_t)(1U << below(random, 8));
        }
        break;
    case 1:
        if (at < input->n) {
            input->bytes[at] = (uint8_t)next_random(random);
        }
        break;
    case 2:
        token = below(random, GL_ARRAY_LEN(tokens));
        gone = below(random, 2) * below(random, input->n - at + 1);
        gone = gone < 8 ? gone : 0;
        exchange(input, at, gone, tokens[token].bytes, tokens[token].n);
        break;
    case 3:
        other = &corpus->inputs[below(random, corpus->count)];
        gone = below(random, other->n + 1);
        exchange(input, at, input->n - at, other->bytes + gone,
                 other->n - gone);
        break;
    default:
        mutate_piece(input, random);
        break;
    }
}

static void
run_mutations(const struct corpus *corpus, unsigned long count,
              uint64_t random)
{
    uint8_t bytes[INPUT_MAX_BYTES];
    struct input input = {bytes, 0};

    for (unsigned long i = 0; i < count; i++) {
        const struct input *from =
            &corpus->inputs[below(&random, corpus->count)];
        size_t times = 1 + below(&random, 6);

        input.n = from->n < INPUT_MAX_BYTES ? from->n : INPUT_MAX_BYTES;
        memcpy(bytes, from->bytes, input.n);
        for (size_t j = 0; j < times; j++) {
            mutate_once(&input, corpus, &random);
        }
        run_input(bytes, input.n);
    }
}

int
main(int argc, char **argv)
{
    struct corpus corpus = {NULL, 0};
    unsigned long mutations = 0;
    uint64_t seed = 0;
    int first = 1;

    if (argc > 3 && strcmp(argv[1], "--mutate") == 0) {
        mutations = strtoul(argv[2], NULL, 10);
        seed = strtoull(argv[3], NULL, 10);
        first = 4;
    }
    (void)signal(SIGABRT, keep_input);
    for (int i = first; i < argc; i++) {
        add_path(&corpus, argv[i]);
    }
    if (corpus.count == 0) {
        fprintf(stderr, "usage: %s [--mutate N SEED] FILE-OR-FOLDER...\n",
                argv[0]);
        return 2;
    }
    for (size_t i = 0; i < corpus.count; i++) {
        run_input(corpus.inputs[i].bytes, corpus.inputs[i].n);
    }
    run_mutations(&corpus, mutations, seed);
    printf("%lu inputs\n", corpus.count + mutations);
    for (size_t i = 0; i < corpus.count; i++) {
        free(corpus.inputs[i].bytes);
    }
    free(corpus.inputs);
    return 0;
}

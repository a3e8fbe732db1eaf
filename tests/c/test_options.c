/* test_options.c - the table of options: rows, ranges, defaults.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/options.h"

#include "base/gl.h"
#include "check.h"

#include <errno.h>

static uint64_t
value_of(const struct gl_options *o, const struct gl_option_spec *spec)
{
    const char *field = (const char *)o + spec->offset;
    uint64_t wide = 0;
    uint32_t narrow = 0;

    if (spec->size == sizeof(wide)) {
        memcpy(&wide, field, sizeof(wide));
        return wide;
    }
    CHECK(spec->size == sizeof(narrow));
    memcpy(&narrow, field, sizeof(narrow));
    return narrow;
}

/* Whether all options but `changed` have their defaults. */
static bool
others_untouched(const struct gl_options *o,
                 const struct gl_option_spec *changed)
{
    for (size_t i = 0; i < gl_option_count; i++) {
        const struct gl_option_spec *spec = &gl_option_specs[i];

        if (spec != changed && value_of(o, spec) != spec->initial) {
            return false;
        }
    }
    return true;
}

static void
check_row(const struct gl_option_spec *spec)
{
    struct gl_options o;

    check_case("%s", spec->name);
    CHECK(spec->min <= spec->initial && spec->initial <= spec->max);
    CHECK(spec->size == sizeof(uint64_t) || spec->max <= UINT32_MAX);
    CHECK(strlen(spec->help) > 0 && strlen(spec->unit) > 0);
    memset(&o, 0xff, sizeof(o));
    gl_options_init(&o);
    CHECK(others_untouched(&o, NULL));
    CHECK(gl_options_set(&o, spec->name, spec->max) == 0);
    CHECK(value_of(&o, spec) == spec->max && others_untouched(&o, spec));
    CHECK(gl_options_set(&o, spec->name, spec->max + 1) == -ERANGE);
    CHECK(value_of(&o, spec) == spec->max);
    CHECK(gl_options_set(&o, spec->name, spec->min) == 0);
    CHECK(value_of(&o, spec) == spec->min && others_untouched(&o, spec));
    if (spec->min > 0) {
        CHECK(gl_options_set(&o, spec->name, spec->min - 1) == -ERANGE);
        CHECK(value_of(&o, spec) == spec->min);
    }
}

static void
test_unknown(void)
{
    struct gl_options o;

    check_case("unknown");
    gl_options_init(&o);
    CHECK(gl_options_set(&o, "core", 1) == -ENOENT);
    CHECK(gl_options_set(&o, "", 1) == -ENOENT);
    CHECK(others_untouched(&o, NULL));
}

/* The rows cover the struct: none is missing, none overlaps. */
static void
test_cover(void)
{
    bool covered[sizeof(struct gl_options)] = {false};
    size_t bytes = 0;

    check_case("cover");
    for (size_t i = 0; i < gl_option_count; i++) {
        for (size_t b = 0; b < gl_option_specs[i].size; b++) {
            CHECK(!covered[gl_option_specs[i].offset + b]);
            covered[gl_option_specs[i].offset + b] = true;
            bytes++;
        }
    }
    CHECK(sizeof(struct gl_options) - bytes < sizeof(uint64_t)); /* padding */
}

static void
test_defaults(void)
{
    struct gl_options o;

    check_case("defaults");
    gl_options_init(&o);
    CHECK(o.cores == 1000 && o.head_max_bytes == 32768);
    CHECK(o.line_max_bytes == 8190 && o.fields_max == 100);
    CHECK(o.body_max_bytes == 0 && o.cancel_on_disconnect == 0);
    CHECK(o.head_timeout_ms == 15000 && o.body_timeout_ms == 30000);
    CHECK(o.keepalive_timeout_ms == 60000 && o.write_timeout_ms == 30000);
}

int
main(void)
{
    for (size_t i = 0; i < gl_option_count; i++) {
        check_row(&gl_option_specs[i]);
    }
    test_unknown();
    test_cover();
    test_defaults();
    return check_end();
}

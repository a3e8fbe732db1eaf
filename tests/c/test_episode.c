/* test_episode.c - what is told of trouble that comes and goes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include "base/episode.h"

static void
test_told_once(void)
{
    struct gl_episode ep = {0};

    check_case("told once");
    CHECK(!gl_episode_end(&ep, 0)); /* nothing was there */
    CHECK(gl_episode_begin(&ep, 5) && ep.open);
    CHECK(!gl_episode_begin(&ep, 6));
    CHECK(!gl_episode_begin(&ep, 1000000));
    CHECK(gl_episode_end(&ep, 1000000) && !ep.open);
    CHECK(!gl_episode_end(&ep, 1000001));
}

static void
test_flapping(void)
{
    const uint64_t end = 100, later = end + GL_EPISODE_QUIET_MS;
    struct gl_episode ep = {0};

    check_case("flapping");
    CHECK(gl_episode_begin(&ep, 1));
    CHECK(gl_episode_end(&ep, end));
    CHECK(!gl_episode_begin(&ep, end + 1) && ep.open);
    CHECK(!gl_episode_end(&ep, end + 2) && !ep.open);
    CHECK(!gl_episode_begin(&ep, later - 1));
    CHECK(gl_episode_begin(&ep, later)); /* it lasts, and is told late */
    CHECK(gl_episode_end(&ep, later + 1));
    CHECK(gl_episode_begin(&ep, later + 1 + GL_EPISODE_QUIET_MS));
}

int
main(void)
{
    test_told_once();
    test_flapping();
    return check_end();
}

/* episode.c - trouble that comes and goes, and is told twice.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/episode.h"

bool
gl_episode_begin(struct gl_episode *ep, uint64_t now_ms)
{
    ep->open = true;
    if (ep->told || now_ms < ep->quiet_until_ms) {
        return false;
    }
    ep->told = true;
    return true;
}

bool
gl_episode_end(struct gl_episode *ep, uint64_t now_ms)
{
    bool told = ep->told;

    ep->open = ep->told = false;
    if (told) {
        ep->quiet_until_ms = now_ms + GL_EPISODE_QUIET_MS;
    }
    return told;
}

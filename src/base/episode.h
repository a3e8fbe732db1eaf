/* episode.h - trouble that comes and goes, and is told twice: when it begins
 * and when it is over.
 *
 * Zeroed memory is ready.  What begins again soon after it ended is told
 * later, if it lasts: a log is not to be filled by whoever causes it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_EPISODE_H
#define GL_BASE_EPISODE_H

#include <stdbool.h>
#include <stdint.h>

#define GL_EPISODE_QUIET_MS 10000 /* between an end and the next beginning */

struct gl_episode {
    uint64_t quiet_until_ms;
    bool open;
    bool told;
};

/* The trouble is there.  Returns whether to tell that it has begun. */
bool gl_episode_begin(struct gl_episode *ep, uint64_t now_ms);
/* It is over, if it was there.  Returns whether to tell that. */
bool gl_episode_end(struct gl_episode *ep, uint64_t now_ms);

#endif

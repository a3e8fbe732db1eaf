/* test_websocket.c - WebSockets over upgraded requests, peers by hand.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"
#include "rig.h"
#include "ws_rig.h"

#include <signal.h>

static void
test_echo(void)
{
    static char big[300000];
    struct ws_rig w;

    check_case("echo");
    ws_open(&w, false);
    ws_send(&w, GL_WS_TEXT, "hello", 5);
    CHECK(ws_got(&w, GL_WS_TEXT, "hello", 5));
    ws_send(&w, GL_WS_BINARY, "", 0);
    CHECK(ws_got(&w, GL_WS_BINARY, "", 0));
    memset(big, 'z', sizeof(big));
    for (size_t n = 120; n <= sizeof(big); n = n * 3 / 2) {
        ws_send(&w, GL_WS_BINARY, big, n);
        CHECK(ws_got(&w, GL_WS_BINARY, big, n));
    }
    ws_close_rig(&w);
}

int
main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    test_echo();
    return check_end();
}

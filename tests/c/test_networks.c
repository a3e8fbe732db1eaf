/* test_networks.c - addresses, and membership in lists of networks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/networks.h"

#include "base/gl.h"
#include "check.h"

#include <errno.h>

static struct gl_str
str(const char *text)
{
    return (struct gl_str){text, strlen(text)};
}

/* --- addresses -------------------------------------------------------- */

static const struct {
    const char *text;
    const char *shown; /* NULL: refused */
} addresses[] = {
    {"1.2.3.4", "1.2.3.4"},
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"::1", "::1"},
    {"::", "::"},
    {"2001:DB8:0:0::1", "2001:db8::1"},
    {"::ffff:1.2.3.4", "1.2.3.4"},
    {"::FFFF:102:304", "1.2.3.4"},
    {"1234:5678:9abc:def0:1234:5678:9abc:def0",
     "1234:5678:9abc:def0:1234:5678:9abc:def0"},
    {"", NULL},
    {" 1.2.3.4", NULL},
    {"1.2.3.4 ", NULL},
    {"1.2.3", NULL},
    {"1.2.3.4.5", NULL},
    {"1.2.3.04", NULL},
    {"01.2.3.4", NULL},
    {"1.2.3.256", NULL},
    {"1.2.3.0x1", NULL},
    {"1.2.3.-1", NULL},
    {"+1.2.3.4", NULL},
    {"16909060", NULL},
    {"localhost", NULL},
    {"fe80::1%eth0", NULL},
    {"[::1]", NULL},
    {":::", NULL},
    {"::1::", NULL},
    {"1:2:3:4:5:6:7", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"12345::", NULL},
    {"::g", NULL},
    {"0000:0000:0000:0000:0000:ffff:255.255.255.2555", NULL},
};

static void
test_addresses(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(addresses); i++) {
        size_t n = strlen(addresses[i].text);
        char *copy = check_copy(addresses[i].text, n);
        char text[GL_ADDR_TEXT_BYTES];
        struct gl_address address;
        bool good = gl_address_parse((struct gl_str){copy, n}, &address);

        check_case("%s", addresses[i].text);
        CHECK(good == (addresses[i].shown != NULL));
        if (good) {
            gl_address_text(&address, text);
            CHECK(strcmp(text, addresses[i].shown) == 0);
            CHECK(gl_address_is_ipv4(&address) ==
                  (strchr(text, ':') == NULL));
        }
        free(copy);
    }
}

static void
test_nul(void)
{
    struct gl_address address;

    check_case("a NUL inside");
    CHECK(!gl_address_parse((struct gl_str){"1.2.3.4\0", 8}, &address));
    CHECK(!gl_address_parse((struct gl_str){"\0", 1}, &address));
    CHECK(!gl_address_parse((struct gl_str){NULL, 0}, &address));
}

/* --- networks --------------------------------------------------------- */

static const struct {
    const char *text;
    int error;
} networks[] = {
    {"10.0.0.0/8", 0},
    {"10.0.0.0", 0},
    {"0.0.0.0/0", 0},
    {"1.2.3.4/32", 0},
    {"::/0", 0},
    {"::1/128", 0},
    {"2001:db8::/33", 0},
    {"::ffff:0:0/96", 0},
    {"unix", 0},
    {"", -EINVAL},
    {"*", -EINVAL},
    {"/8", -EINVAL},
    {"Unix", -EINVAL},
    {"10/8", -EINVAL},
    {"10.0.0.0 /8", -EINVAL},
    {"localhost", -EINVAL},
    {"10.0.0.0/", -ERANGE},
    {"10.0.0.0/33", -ERANGE},
    {"10.0.0.0/08", -ERANGE},
    {"10.0.0.0/-1", -ERANGE},
    {"10.0.0.0/255.0.0.0", -ERANGE},
    {"10.0.0.0/8/8", -ERANGE},
    {"::/129", -ERANGE},
    {"::/1000", -ERANGE},
    {"10.0.0.1/8", -EDOM},
    {"1.2.3.5/31", -EDOM},
    {"::1/127", -EDOM},
    {"::ffff:1.2.3.4/97", -EDOM},
};

static void
test_networks(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(networks); i++) {
        size_t n = strlen(networks[i].text);
        char *copy = check_copy(networks[i].text, n);
        struct gl_networks list = {0};

        check_case("%s", networks[i].text);
        CHECK(gl_networks_is_empty(&list));
        CHECK(gl_networks_add(&list, (struct gl_str){copy, n}) ==
              networks[i].error);
        CHECK(gl_networks_is_empty(&list) == (networks[i].error < 0));
        gl_networks_fini(&list);
        CHECK(gl_networks_is_empty(&list));
        free(copy);
    }
}

static const struct {
    const char *network;
    const char *inside, *outside; /* separated by spaces */
} members[] = {
    {"10.0.0.0/8", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3",
     "9.255.255.255 11.0.0.0 ::10.0.0.0 a00::"},
    {"192.168.4.0/22", "192.168.4.0 192.168.7.255",
     "192.168.3.255 192.168.8.0"},
    {"1.2.3.4", "1.2.3.4", "1.2.3.5 1.2.3.3"},
    {"1.2.3.4/31", "1.2.3.4 1.2.3.5", "1.2.3.6 1.2.3.3"},
    {"0.0.0.0/0", "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4", ":: ::1 2001::"},
    {"::/0", ":: ::1 ffff::", "1.2.3.4 ::ffff:1.2.3.4"},
    {"::/1", "7fff::", "8000:: 1.2.3.4"},
    {"::ffff:0:0/96", "1.2.3.4", "::1"},
    {"::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"},
    {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
    {"::1", "::1", "::2 127.0.0.1"},
};

static void
check_members(const struct gl_networks *list, const char *names, bool inside)
{
    struct gl_peer peer = {.port = 1};
    struct gl_address address;

    while (*names != '\0') {
        size_t n = strcspn(names, " ");

        CHECK(gl_address_parse((struct gl_str){names, n}, &address));
        CHECK(gl_networks_have(list, &address) == inside);
        memcpy(peer.text, names, n);
        peer.text[n] = '\0';
        CHECK(gl_networks_have_peer(list, &peer) == inside);
        names += n + strspn(names + n, " ");
    }
}

static void
test_members(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(members); i++) {
        struct gl_networks list = {0};

        check_case("%s", members[i].network);
        check_members(&list, members[i].inside, false);
        CHECK(gl_networks_add(&list, str("203.0.113.77")) == 0);
        CHECK(gl_networks_add(&list, str(members[i].network)) == 0);
        check_members(&list, members[i].inside, true);
        check_members(&list, members[i].outside, false);
        gl_networks_fini(&list);
    }
}

static void
test_unix_peers(void)
{
    struct gl_networks list = {0};
    struct gl_peer local = {.port = 0}, odd = {.text = "what", .port = 1};

    check_case("unix");
    CHECK(gl_networks_add(&list, str("0.0.0.0/0")) == 0);
    CHECK(!gl_networks_have_peer(&list, &local));
    CHECK(!gl_networks_have_peer(&list, &odd));
    CHECK(gl_networks_add(&list, str("unix")) == 0);
    CHECK(gl_networks_have_peer(&list, &local));
    CHECK(!gl_networks_have_peer(&list, &odd));
    gl_networks_fini(&list);
    CHECK(!gl_networks_have_peer(&list, &local));
}

static void
test_memory(void)
{
    struct gl_networks list = {0};

    check_case("without memory");
    CHECK(gl_networks_add(&list, str("1.0.0.0/8")) == 0);
    check_fail_allocation(1);
    CHECK(gl_networks_add(&list, str("2.0.0.0/8")) == -ENOMEM);
    CHECK(list.count == 1);
    check_members(&list, "1.2.3.4", true);
    check_members(&list, "2.2.3.4", false);
    gl_networks_fini(&list);
}

int
main(void)
{
    test_addresses();
    test_nul();
    test_networks();
    test_members();
    test_unix_peers();
    test_memory();
    return check_end();
}

/* test_list.c - the intrusive list, and slices of bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/list.h"

#include "base/gl.h"
#include "base/str.h"
#include "check.h"

struct item {
    int number;
    struct gl_list link;
};

/* Takes everything out; returns the numbers as decimal digits. */
static int
drain(struct gl_list *head)
{
    struct gl_list *link;
    int digits = 0;

    while ((link = gl_list_pop(head)) != NULL) {
        struct item *item = GL_CONTAINER_OF(link, struct item, link);

        CHECK(!gl_list_linked(link));
        digits = 10 * digits + item->number;
    }
    CHECK(gl_list_empty(head));
    return digits;
}

static void
test_list(void)
{
    struct item items[5] = {{0}};
    struct gl_list head;

    check_case("list");
    gl_list_init(&head);
    CHECK(gl_list_empty(&head) && gl_list_pop(&head) == NULL);
    for (int i = 0; i < 5; i++) {
        items[i].number = i + 1;
        CHECK(!gl_list_linked(&items[i].link));
        gl_list_push(&head, &items[i].link);
        CHECK(gl_list_linked(&items[i].link) && !gl_list_empty(&head));
    }
    gl_list_remove(&items[0].link);
    gl_list_remove(&items[2].link);
    gl_list_remove(&items[2].link); /* harmless */
    gl_list_remove(&items[4].link);
    CHECK(!gl_list_linked(&items[2].link));
    gl_list_push(&head, &items[2].link);
    gl_list_push_front(&head, &items[4].link);
    CHECK(drain(&head) == 5243);
}

static void
test_slices(void)
{
    struct gl_str s = GL_STR("a\0bc"), first;

    check_case("slices");
    CHECK(s.n == 4);
    first = gl_str_take(&s, 2);
    CHECK(gl_str_eq(first, GL_STR("a\0")) && gl_str_eq(s, GL_STR("bc")));
    CHECK(!gl_str_eq(s, GL_STR("bd")) && !gl_str_eq(s, GL_STR("b")));
    CHECK(gl_str_eq((struct gl_str){NULL, 0}, GL_STR("")));
    first = gl_str_take(&s, 2);
    CHECK(s.n == 0 && first.n == 2);
}

int
main(void)
{
    test_list();
    test_slices();
    return check_end();
}

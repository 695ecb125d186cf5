/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What needs no systemd: where a unit's cgroup is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/unit.h"

static void test_cgroup_path(void **state)
{
        CLEANUP_FREE char *plain = unit_cgroup_path("berth.slice", "berth-1.scope");
        CLEANUP_FREE char *nested = unit_cgroup_path("web-front-a.slice", "x.scope");
        (void) state;

        assert_string_equal(plain, "/sys/fs/cgroup/berth.slice/berth-1.scope");
        assert_string_equal(nested, "/sys/fs/cgroup/web.slice/web-front.slice/web-front-a.slice/x.scope");
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_cgroup_path) };

        return cmocka_run_group_tests_name("unit-scope", tests, NULL, NULL);
}

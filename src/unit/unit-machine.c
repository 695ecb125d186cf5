/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registration with systemd-machined (org.freedesktop.machine1(5)), which the bus starts where it is installed. It
 * finds the unit by the leader, and forgets the machine when the unit has gone. */
#include <systemd/sd-bus.h>

#include "berth/cleanup.h"
#include "unit-private.h"

typedef struct UnitMachineCall {
        void (*failed)(const char *reason);
} UnitMachineCall;

static int on_reply(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
        UnitMachineCall *call = userdata;
        (void) error;

        if (sd_bus_message_is_method_error(message, NULL))
                call->failed(sd_bus_message_get_error(message)->message ?: "no reason given");
        return 0;
}

int unit_machine_register(UnitManager *manager, const UnitMachine *machine)
{
        UnitMachineCall *call = malloc(sizeof(*call));
        sd_bus_message *message = NULL;
        sd_bus_slot *slot = NULL;
        sd_bus *bus = NULL;
        int r = call ? unit_manager_bus(manager, &bus) : -ENOMEM;

        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &message, "org.freedesktop.machine1",
                                                   "/org/freedesktop/machine1", "org.freedesktop.machine1.Manager",
                                                   "RegisterMachine");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", machine->name);
        if (r >= 0)
                r = sd_bus_message_append_array(message, 'y', machine->uuid, 16);
        if (r >= 0)
                r = sd_bus_message_append(message, "ssus", "berth", "container", (uint32_t) machine->leader,
                                          machine->root);
        if (r >= 0)
                r = sd_bus_call_async(bus, &slot, message, on_reply, call, 0);
        sd_bus_message_unref(message);
        if (r < 0) {
                free(call);
                return r;
        }
        call->failed = machine->failed;
        /* The call goes with its slot, and the slot with the reply or the connection. */
        sd_bus_slot_set_destroy_callback(slot, free);
        sd_bus_slot_set_floating(slot, true);
        sd_bus_slot_unref(slot);
        return 0;
}

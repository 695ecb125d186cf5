/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A scope made ahead, for the next container. */
#pragma once

#include "engine-private.h"

/* Something was started: the next scope is made after a pause, or AT_ONCE where another start is sure to follow. */
void engine_spare_want(Engine *engine, bool at_once);
void engine_spare_free(Engine *engine);

bool engine_spare_is_ready(const Engine *engine);
/* The ID of the container that can have the scope, borrowed until the loop goes round; NULL: there is none, or a
 * container that is configured like that can't have it. */
const char *engine_spare_offer(const Engine *engine, const json_t *config, const json_t *host);
/* A container is being created with that ID. */
void engine_spare_take(Engine *engine, const char *id);

/* The scope waits for this container. */
bool container_has_spare(const Container *container);
/* fork(2) into it, see runtime_exec_fork(). It is spare no more, whatever comes of it. -ENOENT where there is none. */
pid_t container_spare_fork(Container *container);

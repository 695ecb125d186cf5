/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of the store's contract, as pulling and pushing digest too. */
#pragma once

#include "berth/digest.h"

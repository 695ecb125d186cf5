/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of the store's contract, as pulling chooses platforms too. */
#pragma once

#include "berth/platform.h"

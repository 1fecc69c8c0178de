// The name of a new hand-over.
#pragma once

#include "ferry/guest.h"

namespace ferry {

OwnerToken fresh_token();

}  // namespace ferry

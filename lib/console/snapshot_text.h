// What there is to say of a snapshot, to people and to scripts.
#pragma once

#include <string>

#include "ferry/snapshot.h"

namespace ferry {

/// Several lines, the last one without its end. Nothing in it is unescaped.
std::string inspection_text(const Snapshot& snapshot);
/// One event: an object on one line.
std::string inspection_event(const Snapshot& snapshot);

/// A line for each damage that is listed, where there is any, and one for the whole.
std::string check_text(const SnapshotCheck& check);
std::string check_event(const SnapshotCheck& check);

}  // namespace ferry

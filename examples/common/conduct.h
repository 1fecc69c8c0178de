// The whole of an example, once it has a guest: boot or receive it, send it, and say what came of
// it.
#pragma once

#include <span>

#include "common/guest.h"
#include "common/options.h"

namespace example {

/// Makes a guest for these options; Errc::unsupported where this machine cannot have one.
using MakeGuest = ferry::Result<std::unique_ptr<Guest>> (*)(const Options& options);

/// main(). Prints one JSON object a line to stdout:
///
///   {"event":"listening","uri":...}                            senders may come (not of a file)
///   {"event":"running"}                                        the guest runs here
///   {"event":"migrating"}                                      somebody takes it (not a file)
///   {"event":"migrated","downtime_ms":...,...}                 it has left
///   {"event":"failed","code":...,"message":...,"owner":...}    it has not, or nobody knows
///   {"event":"done","longest_gap_ms":...,"guest_errors":...}   last, where it runs in the end
///
/// Ends with 0 when all went well and the guest found no error; 1 when not; 2 for a command line
/// that makes no sense; 10 when nobody knows who has the guest; 77 where this machine cannot run
/// it.
int conduct(std::span<char* const> arguments, const Vocabulary& vocabulary, MakeGuest make_guest);

}  // namespace example

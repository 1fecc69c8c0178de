// What both examples are told on their command lines.
#pragma once

#include <ferry/guest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace example {

enum class Fill { zeros, noise };

struct Options {
  std::uint64_t memory = std::uint64_t{128} << 20;  ///< in bytes
  unsigned workers = 1;                             ///< vCPUs, or threads
  std::uint64_t dirty_rate = 0;                     ///< of all workers, in bytes per second
  Fill fill = Fill::zeros;                          ///< what memory holds at boot
  bool populate = false;                            ///< at the destination, before it listens

  std::string incoming;  ///< a URI to receive the guest at; empty: it boots here
  std::string migrate;   ///< a URI to send it to; empty: it stays
  std::chrono::nanoseconds after = std::chrono::seconds(1);    ///< of running, before it is sent
  std::chrono::nanoseconds run_for = std::chrono::seconds(2);  ///< where it is in the end
  std::uint64_t max_bandwidth = 0;                             ///< in bytes per second; 0: no bound
  std::string tracker;                                         ///< empty: the example's own choice
  ferry::SendOptions send;
};

/// What an example calls its workers ("vcpus"), and which trackers it has to choose from.
struct Vocabulary {
  const char* command;
  const char* workers;
  const char* trackers;  ///< "log|ring"; null: there is no choice
};

/// `arguments` are argv, the command's own name included. Nothing where help was asked for, and
/// given. Errc::usage, naming the option.
ferry::Result<std::optional<Options>> parse(std::span<char* const> arguments,
                                            const Vocabulary& vocabulary);

}  // namespace example

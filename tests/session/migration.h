// send() and receive() in threads of their own, so that a test can conduct both, or be either.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "ferry/ferry.h"

namespace ferry::test {

class MemorySource;
class MemoryDestination;

inline constexpr std::uint64_t k_mib = 1024 * 1024;

/// A call that blocks until a migration has ended. One that still runs when this is destroyed is
/// asked to stop.
class Call {
 public:
  explicit Call(std::function<Outcome(std::stop_token)> body);
  Call(Call&&) = default;
  Call& operator=(Call&&) = delete;
  ~Call();

  void stop() { stop_.request_stop(); }
  /// Blocks until it has returned. Once.
  Outcome outcome() { return outcome_.get(); }

 private:
  std::stop_source stop_;
  std::future<Outcome> outcome_;
};

/// receive() at an address.
class Receiving {
 public:
  Receiving(Runtime& runtime, DestinationGuest& guest, std::string at = "tcp://127.0.0.1:0",
            ReceiveOptions options = {});

  /// Where it listens; empty where it does not. Blocks until that is known.
  const std::string& uri() const { return uri_.get(); }
  void stop() { call_.stop(); }
  Outcome outcome() { return call_.outcome(); }

 private:
  Receiving(Runtime& runtime, DestinationGuest& guest, std::string at, ReceiveOptions options,
            std::shared_ptr<std::promise<std::string>> listening);

  std::shared_future<std::string> uri_;
  Call call_;
};

Call sending(Runtime& runtime, SourceGuest& guest, std::string uri, SendOptions options = {});
Call sending_over(Runtime& runtime, SourceGuest& guest, std::unique_ptr<Channel> channel,
                  SendOptions options = {});
Call receiving_over(Runtime& runtime, DestinationGuest& guest, std::unique_ptr<Channel> channel,
                    ReceiveOptions options = {});

/// What came of both sides.
struct Ended {
  Outcome sent;
  Outcome received;
};

/// A whole migration by way of an address.
Ended migrate(Runtime& runtime, SourceGuest& from, DestinationGuest& to, std::string at,
              const SendOptions& options);
/// The same over one duplex channel.
Ended migrate_over(Runtime& runtime, SourceGuest& from, DestinationGuest& to,
                   std::unique_ptr<Channel> ours, std::unique_ptr<Channel> theirs,
                   const SendOptions& options);

SendOptions with_channels(unsigned channels);

/// Both sides say so, the memory is the same, and each guest was asked for what it should be, once.
void expect_handed_over(const Ended& ended, const MemorySource& from, const MemoryDestination& to);
/// It failed so, and the guest stays at the source, and runs there.
void expect_kept(const Outcome& outcome, const MemorySource& from, Errc code,
                 const std::string& text);
/// It went well, and as many channels as both sides say were replaced: `least` or more.
void expect_replaced(const Ended& ended, std::uint64_t least);

/// No two words of it are alike.
std::vector<std::byte> counting(std::size_t bytes);
/// One section of device state, which arrives as it was. The bytes outlive the migration.
void give_and_expect(MemorySource& from, MemoryDestination& to, std::span<const std::byte> bytes);

std::unique_ptr<Runtime> runtime_of_all_transports();

/// How it failed, for people; "it did not fail" where it did not.
std::string why_not(const Outcome& outcome);

}  // namespace ferry::test

namespace ferry {

/// For gtest: codes and owners by their names.
inline void PrintTo(Errc code, std::ostream* out) { *out << to_string(code); }
inline void PrintTo(Owner owner, std::ostream* out) { *out << to_string(owner); }

}  // namespace ferry

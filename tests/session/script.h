// A recipient and a guest of whom every call is written down, and any one can fail.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "session/source.h"
#include "tests/session/memory_guest.h"

namespace ferry::test {

inline constexpr std::uint64_t k_unit = k_unit_bytes;
// More than the rest that is small enough to be sent with the guest paused.
inline constexpr std::uint64_t k_much = 16 * 1024 * 1024 / k_unit;

/// What happened, and what is to happen.
struct Script {
  std::vector<std::vector<PageRun>> dirty;     ///< that the harvests find, in their order
  std::vector<std::vector<PageRun>> suspects;  ///< that the rounds end with
  std::optional<std::size_t> fail_at;          ///< the place in `calls` of the one that fails

  bool broken_when_ready = false;  ///< the line is known to be cut behind READY

  std::vector<std::string> calls;
  std::vector<wire::Digest> digests;
  OwnerToken token;

  /// A call: written down, and failed where it is its turn.
  Result<void> call(std::string name) {
    calls.push_back(std::move(name));
    if (fail_at != calls.size() - 1) return {};
    return fail(Errc::disconnected, "scripted failure");
  }
};

class ScriptedRecipient final : public Recipient, private StateSink {
 public:
  explicit ScriptedRecipient(Script& script) : script_(script) {}

  StateSink& state() override { return *this; }
  /// As if all that was submitted had gone over a line.
  LineFigures line() const override { return {.wire_bytes = submitted_}; }

  Result<void> layout(const Layout&) override { return script_.call("layout"); }
  Result<void> begin_round(std::uint32_t round, Motion motion) override {
    return script_.call(
        fmt::format("begin round {}{}", round, motion == Motion::still ? ", still" : ""));
  }
  Result<void> submit(const PageRun& run, Content) override {
    submitted_ += run.length;
    return script_.call(fmt::format("submit {}:{}+{}", run.region, run.offset, run.length));
  }
  Result<void> end_round(std::uint32_t round, DirtyBitmap& again) override {
    FERRY_TRY(script_.call(fmt::format("end round {}", round)));
    if (round >= script_.suspects.size()) return {};
    for (const PageRun& run : script_.suspects[round]) again.mark(run);
    return {};
  }
  Result<void> prepare(std::vector<wire::Digest> digests) override {
    script_.digests = std::move(digests);
    return script_.call("prepare");
  }
  Result<void> check() const override {
    if (!script_.broken_when_ready) return {};
    return fail(Errc::disconnected, "scripted failure");
  }
  Result<void> commit(const OwnerToken& token) override {
    script_.token = token;
    return script_.call("commit");
  }

 private:
  Result<void> begin_section(std::string_view name, std::uint32_t version) override {
    return script_.call(fmt::format("section {} {}", name, version));
  }
  Result<void> append(std::span<const std::byte> piece) override {
    return script_.call(fmt::format("state +{}", piece.size()));
  }
  Result<void> end_section(std::uint64_t length, std::uint64_t) override {
    return script_.call(fmt::format("end section +{}", length));
  }

  Script& script_;
  std::uint64_t submitted_ = 0;
};

/// What came of a Source.
struct Trial {
  Result<void> done;
  SourceState state;
  std::uint32_t rounds;
  Report report;
};

/// The line of a script takes no time, so that anything fits into any downtime but none.
inline SendOptions when_nothing_is_dirty() {
  SendOptions options;
  options.max_downtime = {};
  return options;
}

/// Runs a Source from beginning to end.
inline Trial run(Script& script, MemorySource& guest, const SendOptions& options = {}) {
  guest.on_start_tracking = [&script] { return script.call("start tracking"); };
  guest.on_pause = [&script] { return script.call("pause"); };
  guest.on_resume = [&script] { return script.call("resume"); };
  guest.on_harvest = [&script, &guest, n = std::size_t{0}]() mutable -> Result<void> {
    FERRY_TRY(script.call("harvest"));
    if (n == script.dirty.size()) return {};
    for (const PageRun& run : script.dirty[n++]) {
      for (std::uint64_t unit = 0; unit < units_in(run.length); ++unit) {
        guest.write(run.region, run.offset / k_unit_bytes + unit, std::byte{0x11});
      }
    }
    return {};
  };
  ScriptedRecipient recipient(script);
  PrecopyGauge gauge;
  Source source(guest, recipient, options, gauge, {});
  Result<void> done = source.run();
  Report report;
  source.add_to(report);
  return {std::move(done), source.state(), static_cast<std::uint32_t>(report.rounds),
          std::move(report)};
}

}  // namespace ferry::test

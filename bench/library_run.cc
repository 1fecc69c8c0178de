#include "bench/library_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "bench/bare_limit.h"
#include "bench/control_plane.h"
#include "bench/data.h"
#include "bench/process.h"
#include "bench/proxy.h"
#include "ferry/ferry.h"

namespace ferry::bench {
namespace {

Result<GuestMemory> one_region(std::span<std::byte> memory, Backing backing, int fd) {
  MemoryRegion region;
  region.name = "memory";
  region.length = memory.size();
  region.host = memory.data();
  region.backing = backing;
  region.fd = fd;
  return GuestMemory::create({region});
}

class StillTracker final : public DirtyTracker {
 public:
  Result<void> start() override { return {}; }
  Result<void> harvest(DirtyBitmap&) override { return {}; }
  void stop() noexcept override {}
};

/// A guest that never runs.
class StillSource final : public SourceGuest {
 public:
  explicit StillSource(GuestMemory memory) : memory_(std::move(memory)) {}
  const GuestMemory& memory() override { return memory_; }
  DirtyTracker& dirty_tracker() override { return tracker_; }
  Result<void> pause() override { return {}; }
  Result<void> resume() override { return {}; }

 private:
  GuestMemory memory_;
  StillTracker tracker_;
};

/// Memory that waits for a guest, which will not run.
class StillDestination final : public DestinationGuest {
 public:
  explicit StillDestination(std::span<std::byte> memory) : memory_(memory) {}
  Result<GuestMemory> map_memory(const Layout& wanted) override {
    if (wanted.regions.size() != 1 || wanted.regions[0].length != memory_.size()) {
      return fail(Errc::guest, "map the memory: not the layout of this benchmark");
    }
    return one_region(memory_, Backing::anonymous, -1);
  }
  Result<void> prepare() override { return {}; }
  Result<void> start(const OwnerToken&) override { return {}; }

 private:
  std::span<std::byte> memory_;
};

/// A guest that is nothing but device state.
class StateSource final : public SourceGuest {
 public:
  StateSource(GuestMemory memory, std::span<const std::byte> state, std::uint64_t section_bytes)
      : still_(std::move(memory)), state_(state), section_bytes_(section_bytes) {}
  const GuestMemory& memory() override { return still_.memory(); }
  DirtyTracker& dirty_tracker() override { return still_.dirty_tracker(); }
  Result<void> pause() override { return {}; }
  Result<void> resume() override { return {}; }
  Result<void> save_state(StateWriter& out) override {
    for (std::uint64_t at = 0; at < state_.size() && out.status(); at += section_bytes_) {
      out.section(fmt::format("at {}", at));
      out.bytes(state_.subspan(at, std::min(section_bytes_, state_.size() - at)));
    }
    return {};
  }

 private:
  StillSource still_;
  const std::span<const std::byte> state_;
  const std::uint64_t section_bytes_;
};

class StateDestination final : public DestinationGuest {
 public:
  StateDestination(std::span<std::byte> memory, std::span<std::byte> state)
      : still_(memory), state_(state) {}
  Result<GuestMemory> map_memory(const Layout& wanted) override {
    return still_.map_memory(wanted);
  }
  Result<void> load_state(StateReader& in) override {
    std::span<std::byte> rest = state_;
    while (const auto section = FERRY_TRY(in.next())) {
      if (section->length > rest.size()) return in.refuse("more than this benchmark sends");
      FERRY_TRY(in.bytes(rest.first(section->length)));
      rest = rest.subspan(section->length);
    }
    return {};
  }
  Result<void> prepare() override { return {}; }
  Result<void> start(const OwnerToken&) override { return {}; }

 private:
  StillDestination still_;
  const std::span<std::byte> state_;
};

/// What a migration says of itself.
struct Account {
  std::string cipher{};      ///< empty where nothing encrypted it
  double pages_seconds = 0;  ///< of all rounds; 0 at a receiver
};

Result<Account> as_result(Outcome outcome) {
  if (!outcome.ok()) return std::unexpected(*std::move(outcome.why_not));
  Account account{.cipher = std::move(outcome.report.cipher)};
  for (const RoundReport& round : outcome.report.each_round) {
    account.pages_seconds += std::chrono::duration<double>(round.time).count();
  }
  return account;
}

/// A side of a run, in its process: where it reports, and what has counted from its first step.
struct Side {
  int out;
  const SystemCalls& calls;
};

/// Does `work`, which gives its account, and reports what it took.
Result<void> measured(const Side& side, const std::function<Result<Account>()>& work) {
  const Usage before = usage_so_far(&side.calls);
  SideReport report;
  report.begin = Clock::now();
  const Account account = FERRY_TRY(work());
  report.end = Clock::now();
  report.cipher = account.cipher;
  report.pages_seconds = account.pages_seconds;
  report.usage = usage_so_far(&side.calls) - before;
  write_report(side.out, report);
  return {};
}

/// The same for work without Ferry.
Result<void> measured_bare(const Side& side, const std::function<Result<void>()>& work) {
  return measured(side, [&]() -> Result<Account> {
    FERRY_TRY(work());
    return Account{};
  });
}

Result<std::unique_ptr<Runtime>> runtime_for(const Transfer& transfer) {
  RuntimeOptions options{.poller = transfer.poller};
  if (transfer.tls) options.tls = *transfer.tls;
  return make_runtime(options);
}

std::string address_for(const Transfer& transfer) {
  if (transfer.tls) return "tls://127.0.0.1:0";
  if (transfer.scheme == "rdma") return "rdma://:0";  // loopback is no device's
  if (!transfer.scheme.empty()) return transfer.scheme + "://127.0.0.1:0";
  if (transfer.line == BareLine::tcp) return "tcp://127.0.0.1:0";
  return fmt::format("unix://@ferry-bench-{}", ::getpid());
}

/// What a guest's memory holds in the beginning. The receiver's has zeros.
void fill(std::span<std::byte> memory, Kind kind) {
  fill_random(memory, 0);
  if (kind == Kind::random) return;
  constexpr std::uint64_t k_stripe = 64 * 1024;
  for (std::uint64_t at = k_stripe; at < memory.size(); at += 2 * k_stripe) {
    std::ranges::fill(memory.subspan(at, std::min(k_stripe, memory.size() - at)), std::byte{0});
  }
}

/// Errc::integrity unless it is what fill() makes.
Result<void> expect(std::span<const std::byte> memory, Kind kind) {
  if (kind == Kind::random) return expect_random(memory);
  const Mapping wanted = FERRY_TRY(Mapping::populated(memory.size()));
  fill(wanted.bytes(), kind);
  if (std::ranges::equal(memory, wanted.bytes())) return {};
  return fail(Errc::integrity, "compare memory: it is not what was sent");
}

/// Receives into `memory` with Ferry. The first line says where it listens, the second is the
/// report.
Result<void> ferry_receive(const Side& side, std::span<std::byte> memory,
                           const Transfer& transfer) {
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(transfer));
  StillDestination guest(memory);
  ReceiveOptions options;
  options.observer.listening = [&side](const Uri& local, Reach) {
    write_line(side.out, local.text());
  };
  return measured(
      side, [&] { return as_result(receive(*runtime, guest, address_for(transfer), options)); });
}

Result<Account> ferry_send(Runtime& runtime, GuestMemory memory, const std::string& uri,
                           unsigned channels) {
  StillSource guest(std::move(memory));
  SendOptions options;
  options.channels = channels;
  return as_result(send(runtime, guest, uri, options));
}

Task<void> drop(std::unique_ptr<Listener>) { co_return; }

/// An address that ends in a port, with another port.
std::string with_port(const std::string& address, std::uint16_t port) {
  return fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
}

Result<Proxy> proxy_to(const std::string& address) {
  return Proxy::start(
      static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
}

/// Starts the receiving side, and then the sending one, which is told where the other listens, or
/// where the proxy does.
Result<Run> run_sides(
    Way way, const std::function<Result<void>(const Side&)>& receiver,
    const std::function<Result<void>(const Side&, const std::string& where)>& sender) {
  Process receiving = FERRY_TRY(Process::fork([&](int out) {
    const SystemCalls calls;
    return receiver({out, calls});
  }));
  std::string where = FERRY_TRY(receiving.read_line());
  std::optional<Proxy> proxy;
  if (way == Way::proxy) {
    proxy.emplace(FERRY_TRY(proxy_to(where)));
    where = with_port(where, proxy->port());
  }
  Process sending = FERRY_TRY(Process::fork([&](int out) {
    const SystemCalls calls;
    return sender({out, calls}, where);
  }));
  const SideReport sent = FERRY_TRY(read_report(sending));
  const SideReport received = FERRY_TRY(read_report(receiving));
  FERRY_TRY(sending.wait());
  FERRY_TRY(receiving.wait());
  return Run{
      .seconds = seconds_between(sent.begin, std::max(sent.end, received.end)),
      .pages_seconds = sent.pages_seconds > 0 ? std::optional(sent.pages_seconds) : std::nullopt,
      .send = sent.usage,
      .receive = received.usage,
      .cipher = sent.cipher};
}

}  // namespace

Result<std::string> listening_address(const Transfer& transfer) {
  Process listening = FERRY_TRY(Process::fork([&](int out) -> Result<void> {
    const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(transfer));
    const Uri at = FERRY_TRY(Uri::parse(address_for(transfer)));
    Transport* const transport = FERRY_TRY(runtime->transport(at.scheme));
    auto listener = block_on(runtime->loop(), transport->listen(runtime->loop(), at));
    write_line(out, listener ? (*listener)->local().text() : "-" + listener.error().text());
    // On the loop, where it was used.
    return block_on(runtime->loop(), drop(listener ? *std::move(listener) : nullptr));
  }));
  std::string said = FERRY_TRY(listening.read_line());
  FERRY_TRY(listening.wait());
  if (said.starts_with('-')) return fail(Errc::unreachable, said.substr(1));
  return said;
}

Result<Run> ferry_memory(const Transfer& transfer) {
  return run_sides(
      transfer.way,
      [&](const Side& side) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::populated(transfer.bytes));
        FERRY_TRY(ferry_receive(side, memory.bytes(), transfer));
        return expect(memory.bytes(), transfer.kind);
      },
      [&](const Side& side, const std::string& where) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::populated(transfer.bytes));
        fill(memory.bytes(), transfer.kind);
        const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(transfer));
        GuestMemory guest = FERRY_TRY(one_region(memory.bytes(), Backing::anonymous, -1));
        const SilentPeers silent = FERRY_TRY(SilentPeers::connect(where, transfer.silent_peers));
        return measured(side,
                        [&] { return ferry_send(*runtime, guest, where, transfer.channels); });
      });
}

Result<Run> ferry_state(const Transfer& transfer, std::uint64_t section_bytes,
                        const std::string& folder) {
  return run_sides(
      transfer.way,
      [&](const Side& side) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::populated(k_unit_bytes));
        const Mapping state = FERRY_TRY(Mapping::populated(transfer.bytes));
        const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(transfer));
        StateDestination guest(memory.bytes(), state.bytes());
        ReceiveOptions options;
        options.max_state_bytes = transfer.bytes;
        options.state_folder = folder;
        options.observer.listening = [&side](const Uri& local, Reach) {
          write_line(side.out, local.text());
        };
        FERRY_TRY(measured(side, [&] {
          return as_result(receive(*runtime, guest, address_for(transfer), options));
        }));
        return expect_random(state.bytes());
      },
      [&](const Side& side, const std::string& where) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::populated(k_unit_bytes));
        const Mapping state = FERRY_TRY(Mapping::populated(transfer.bytes));
        fill_random(state.bytes(), 0);
        const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(transfer));
        StateSource guest(FERRY_TRY(one_region(memory.bytes(), Backing::anonymous, -1)),
                          state.bytes(), section_bytes);
        SendOptions options;
        options.channels = transfer.channels;
        return measured(side, [&] { return as_result(send(*runtime, guest, where, options)); });
      });
}

Result<Run> bare_memory(const Transfer& transfer) {
  return run_sides(
      transfer.way,
      [&](const Side& side) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::populated(transfer.bytes));
        BareListener listener = FERRY_TRY(BareListener::create(transfer.line));
        write_line(side.out, std::string(listener.address()));
        FERRY_TRY(measured_bare(
            side, [&] { return listener.receive(memory.bytes(), transfer.channels); }));
        return expect(memory.bytes(), transfer.kind);
      },
      [&](const Side& side, const std::string& where) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::populated(transfer.bytes));
        fill(memory.bytes(), transfer.kind);
        return measured_bare(side,
                             [&] { return bare_send(memory.bytes(), where, transfer.channels); });
      });
}

Result<Run> ferry_zeros(const Transfer& transfer, int zeros) {
  return run_sides(
      transfer.way,
      [&](const Side& side) -> Result<void> {
        const Mapping memory = FERRY_TRY(Mapping::fresh(transfer.bytes));
        return ferry_receive(side, memory.bytes(), transfer);
      },
      [&](const Side& side, const std::string& where) -> Result<void> {
        const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(transfer));
        return measured(side, [&]() -> Result<Account> {
          const Mapping memory = FERRY_TRY(Mapping::of_file(zeros, transfer.bytes));
          GuestMemory guest = FERRY_TRY(one_region(memory.bytes(), Backing::shmem, zeros));
          return ferry_send(*runtime, std::move(guest), where, transfer.channels);
        });
      });
}

Result<Run> plain_read_zeros(const Transfer& transfer, int zeros) {
  Process reader = FERRY_TRY(Process::fork([&](int out) {
    const SystemCalls calls;
    return measured_bare({out, calls}, [&]() -> Result<void> {
      const Mapping memory = FERRY_TRY(Mapping::of_file(zeros, transfer.bytes));
      if (plain_read(memory.bytes(), transfer.channels) == 0) return {};
      return fail(Errc::integrity, "read zeros: not all of them are");
    });
  }));
  const SideReport report = FERRY_TRY(read_report(reader));
  FERRY_TRY(reader.wait());
  return Run{.seconds = seconds_between(report.begin, report.end), .send = report.usage};
}

}  // namespace ferry::bench

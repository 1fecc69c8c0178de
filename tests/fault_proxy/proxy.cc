#include "tests/fault_proxy/proxy.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "loop/async_io.h"

namespace ferry::test {
namespace {

using Act = Fault::Act;

constexpr std::size_t k_piece_bytes = 64 * 1024;

// How long connections are gathered for a reorder: a sender may open fewer than it asks for.
constexpr std::chrono::milliseconds k_gathering{250};

/// At least one byte, or none when the peer finished.
Task<std::vector<std::byte>> read_piece(EventLoop& loop, Channel& channel) {
  Pollable& pollable = *channel.facets().pollable;
  std::vector<std::byte> piece(k_piece_bytes);
  const iovec room{piece.data(), piece.size()};
  for (;;) {
    const Pollable::Step step = co_await pollable.try_read_some({&room, 1});
    if (step.wait_for == Interest::none) {
      piece.resize(step.bytes);
      co_return piece;
    }
    co_await loop.ready(pollable.fd(), step.wait_for);
  }
}

}  // namespace

/// One connection, of two halves.
struct FaultProxy::Line {
  unsigned number = 0;
  std::unique_ptr<Channel> client, server;

  void cut() noexcept {
    client->cancel(Errc::disconnected);
    server->cancel(Errc::disconnected);
  }
};

/// One direction of a line.
struct FaultProxy::Flow {
  Line& line;
  Channel& from;
  Channel& to;
  std::vector<Fault> faults;  // in the order of their offsets, the next one last
  std::uint64_t passed = 0;
  bool stalled = false;
  std::ofstream record;
};

FaultProxy::FaultProxy(EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)), flows_(loop) {}

Task<void> FaultProxy::serve(std::unique_ptr<Listener> listener) {
  unsigned count = 1;
  for (const Fault& fault : options_.faults) {
    if (fault.act == Act::reorder) count = std::max(count, fault.amount);
  }
  std::unique_ptr<Channel> first = co_await listener->accept();
  co_await join(std::move(first));
  for (;;) co_await gather(*listener, count);
}

/// Accepts `count` connections, or as many as come soon after the first, and joins them on in
/// reverse order.
Task<void> FaultProxy::gather(Listener& listener, unsigned count) {
  gathered_.push_back(co_await listener.accept());
  const Clock::time_point deadline = Clock::now() + k_gathering;
  while (gathered_.size() < count) {
    Result<std::unique_ptr<Channel>> next =
        co_await loop_.within(deadline, listener.accept(), "gather").caught();
    if (!next) break;
    gathered_.push_back(std::move(*next));
  }
  if (gathered_.size() > 1) options_.fired({.act = Act::reorder, .amount = count});
  while (!gathered_.empty()) {
    std::unique_ptr<Channel> last = std::move(gathered_.back());
    gathered_.pop_back();
    co_await join(std::move(last));
  }
}

Task<void> FaultProxy::join(std::unique_ptr<Channel> client) {
  auto line = std::make_shared<Line>();
  line->number = accepted_++;
  line->client = std::move(client);
  Result<std::unique_ptr<Channel>> server =
      co_await options_.transport->connect(loop_, options_.to).caught();
  if (!server) co_return;  // who connected sees a cut line, as it would without us
  line->server = std::move(*server);
  flows_.spawn(pass(line, Direction::up));
  flows_.spawn(pass(line, Direction::down));
}

Task<void> FaultProxy::pass(std::shared_ptr<Line> line, Direction direction) {
  const bool up = direction == Direction::up;
  Flow flow{.line = *line,
            .from = up ? *line->client : *line->server,
            .to = up ? *line->server : *line->client,
            .faults = {},
            .record = {}};
  std::ranges::copy_if(options_.faults, std::back_inserter(flow.faults), [&](const Fault& fault) {
    return fault.act != Act::reorder && fault.connection == line->number &&
           fault.direction == direction;
  });
  std::ranges::sort(flow.faults, std::ranges::greater(), &Fault::offset);
  if (!options_.record.empty()) {
    flow.record.open(options_.record + "/" + std::to_string(line->number) + (up ? ".up" : ".down"),
                     std::ios::binary);
  }
  while (!flow.stalled) {
    Result<std::vector<std::byte>> piece = co_await read_piece(loop_, flow.from).caught();
    if (!piece) break;
    if (piece->empty()) {
      (void)flow.to.finish();
      co_return;
    }
    const Result<void> passed = co_await pass_piece(flow, std::move(*piece)).caught();
    if (!passed) break;
  }
  if (flow.stalled) co_await loop_.sleep_until(Clock::time_point::max());
  line->cut();
}

Task<void> FaultProxy::pass_piece(Flow& flow, std::vector<std::byte> piece) {
  while (!flow.faults.empty() && !flow.stalled &&
         flow.faults.back().offset - flow.passed < piece.size()) {
    const Fault fault = flow.faults.back();
    flow.faults.pop_back();
    const auto place = piece.begin() + static_cast<std::ptrdiff_t>(fault.offset - flow.passed);
    std::vector<std::byte> before(piece.begin(), place);
    piece.erase(piece.begin(), place);
    co_await write(flow, std::move(before));
    if (fault.act == Act::flip) piece.front() ^= std::byte{1} << fault.amount;
    co_await strike(flow, fault);
  }
  if (!flow.stalled) co_await write(flow, std::move(piece));
}

Task<void> FaultProxy::strike(Flow& flow, Fault fault) {
  options_.fired(fault);
  if (fault.act == Act::stall) flow.stalled = true;
  if (fault.act == Act::cut) co_await fail(Errc::disconnected, "cut, as was asked for");
  if (fault.act == Act::delay) {
    co_await loop_.sleep_until(Clock::now() + std::chrono::milliseconds(fault.amount));
  }
}

Task<void> FaultProxy::write(Flow& flow, std::vector<std::byte> bytes) {
  flow.passed += bytes.size();
  flow.record.write(reinterpret_cast<const char*>(bytes.data()),
                    static_cast<std::streamsize>(bytes.size()));
  flow.record.flush();
  co_await write_all(loop_, flow.to, std::move(bytes));
}

}  // namespace ferry::test

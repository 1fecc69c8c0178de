#include "bench/rdma_cases.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/data.h"
#include "bench/library_run.h"
#include "bench/process.h"
#include "ferry/uri.h"

namespace ferry::bench {
namespace {

constexpr std::uint64_t k_message_bytes = k_mib;
constexpr double k_ratio = 0.85;
constexpr const char* k_perftest = "/usr/bin/ib_write_bw";

/// What ib_write_bw says of messages of this size: "1048576  64  55.1  54.9  0.00005", where the
/// fourth is MiB/s on average. Nothing of lines that are not that one.
std::optional<double> average_in(const std::string& line) {
  std::istringstream words(line);
  std::uint64_t bytes = 0;
  std::uint64_t iterations = 0;
  double peak = 0;
  double average = 0;
  if (!(words >> bytes >> iterations >> peak >> average)) return std::nullopt;
  if (bytes != k_message_bytes || average <= 0) return std::nullopt;
  return average;
}

std::vector<std::string> perftest(const Plan& plan, unsigned channels) {
  const std::uint64_t messages = std::max<std::uint64_t>(plan.bytes / k_message_bytes, 5);
  // Connected by the connection manager, as Ferry is: it finds device, port and GID.
  return {k_perftest,
          "-R",
          "-F",
          "-s",
          std::to_string(k_message_bytes),
          "-q",
          std::to_string(channels),
          "-n",
          std::to_string(messages / channels)};
}

/// The sender's figure, for all of the bytes. Nothing where it found nobody.
Result<std::optional<Run>> sent_by_perftest(const Plan& plan,
                                            const std::vector<std::string>& command) {
  Process sender = FERRY_TRY(Process::start(command));
  std::optional<double> average;
  while (const auto line = sender.read_line()) {
    if (const auto found = average_in(*line)) average = found;
  }
  const Result<Usage> used = sender.wait();
  if (!used || !average) return std::nullopt;
  Run run;
  run.send = *used;
  run.seconds = static_cast<double>(plan.bytes) / static_cast<double>(k_mib) / *average;
  return run;
}

/// The receiver does not say from when on it listens: the sender tries until it does. One that came
/// too early may have taken the receiver with it, and so there is another one then.
Result<Run> write_bandwidth(const Plan& plan, unsigned channels, const std::string& host) {
  const std::vector<std::string> listening = perftest(plan, channels);
  std::vector<std::string> sending = listening;
  sending.push_back(host);
  for (int receivers = 0; receivers < 10; ++receivers) {
    Process receiver = FERRY_TRY(Process::start(listening));
    for (int tries = 0; tries < 5; ++tries) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      std::optional<Run> run = FERRY_TRY(sent_by_perftest(plan, sending));
      if (!run) continue;
      run->receive = FERRY_TRY(receiver.wait());
      return *std::move(run);
    }
  }
  return fail(Errc::unreachable, "run ib_write_bw: it did not reach its receiver");
}

double receiver_cpu(const Run& run) { return run.receive.cpu_seconds; }

double seconds(const Run& run) { return run.seconds; }

/// The same runs, by the time of their rounds alone. ib_write_bw's time is from its first write to
/// the end of the last: memory is pinned before, and connecting is not in it. So is that of rounds,
/// which has more in it: looking for zeros, checksums on both sides, the answer that all is there.
std::vector<Run> of_pages(std::vector<Run> sessions) {
  for (Run& run : sessions) run.seconds = run.pages_seconds.value_or(run.seconds);
  return sessions;
}

/// Where Ferry listens on this host for RDMA.
Result<std::string> own_host(const Transfer& transfer) {
  const std::string at = FERRY_TRY(listening_address(transfer));
  return FERRY_TRY(Uri::parse(at)).host;
}

}  // namespace

Result<void> rdma_placed(const Plan& plan, const Report& report) {
  Transfer transfer{.bytes = plan.bytes, .poller = plan.poller};
  transfer.scheme = "rdma";
  const Result<std::string> host = own_host(transfer);
  if (!host || ::access(k_perftest, X_OK) != 0) {
    fmt::print(stderr, "{:<14} skipped: {}\n", "rdma-placed",
               host ? "there is no ib_write_bw here (perftest)" : host.error().text());
    return {};
  }
  for (const unsigned channels : plan.channels) {
    transfer.channels = channels;
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(transfer); },
        [&] { return write_bandwidth(plan, channels, *host); }));
    Finding placed;
    placed.name = "rdma-placed";
    placed.against = "ib_write_bw";
    placed.bytes = plan.bytes;
    placed.channels = channels;
    placed.transport = "rdma";
    placed.figures = {{"session_seconds", median_of(runs.ferry, seconds)},
                      {"session_ratio", ratio_of_pairs(runs)}};
    runs.ferry = of_pages(std::move(runs.ferry));
    placed.bars = {{"ratio", ratio_of_pairs(runs), Bar::Side::at_least, k_ratio}};
    placed.runs = std::move(runs);
    report(placed);

    Transfer tcp = transfer;
    tcp.scheme.clear();
    Runs beside = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(transfer); }, [&] { return ferry_memory(tcp); }));
    const double cost =
        median_of(beside.ferry, receiver_cpu) / median_of(beside.limit, receiver_cpu);
    const Bar cheap{"receiver_cpu_of_tcp", cost, Bar::Side::at_most, 1};
    report({"rdma-receiver", "tcp", plan.bytes, channels, std::move(beside), {cheap}, "rdma"});
  }
  return {};
}

}  // namespace ferry::bench

#include "bench/rdma_cases.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
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

/// The sender's figure, for all of the bytes.
Result<Run> write_bandwidth(const Plan& plan, unsigned channels, const std::string& host) {
  Process receiver = FERRY_TRY(Process::start(perftest(plan, channels)));
  // It says nothing that one could wait for: the sender tries until it listens.
  std::vector<std::string> sending = perftest(plan, channels);
  sending.push_back(host);
  for (int tries = 0; tries < 100; ++tries) {
    Process sender = FERRY_TRY(Process::start(sending));
    std::optional<double> average;
    while (const auto line = sender.read_line()) {
      if (const auto found = average_in(*line)) average = found;
    }
    const Result<Usage> used = sender.wait();
    if (!used || !average) continue;
    Run run;
    run.send = *used;
    run.receive = FERRY_TRY(receiver.wait());
    run.seconds = static_cast<double>(plan.bytes) / static_cast<double>(k_mib) / *average;
    return run;
  }
  return fail(Errc::unreachable, "run ib_write_bw: it did not reach its receiver");
}

double receiver_cpu(const Run& run) { return run.receive.cpu_seconds; }

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
    const Bar bar{"ratio", median(ratios(runs)), Bar::Side::at_least, k_ratio};
    report({"rdma-placed", "ib_write_bw", plan.bytes, channels, std::move(runs), {bar}, "rdma"});

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

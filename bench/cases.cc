#include "bench/cases.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "bench/control_plane.h"
#include "bench/data.h"
#include "bench/guest_cases.h"
#include "bench/library_run.h"
#include "bench/process.h"
#include "bench/proxy.h"
#include "bench/rdma_cases.h"
#include "bench/snapshot.h"
#include "bench/tls_cases.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {
namespace {

constexpr std::uint64_t k_sparse_bytes = 64 * k_gib;
constexpr std::uint64_t k_sparse_data_bytes = 16 * k_mib;

Bar ratio_bar(const Runs& runs, double limit) {
  return {"ratio", ratio_of_pairs(runs), Bar::Side::at_least, limit};
}

/// 64 MiB, 4 MiB a channel, and 0.02 % of the image.
double memory_limit(std::uint64_t image_bytes, unsigned channels) {
  return static_cast<double>(64 * k_mib + channels * 4 * k_mib) +
         0.0002 * static_cast<double>(image_bytes);
}

Result<void> image_random(const Plan& plan, const Report& report) {
  const ScratchFile image(scratch_path(plan, "random.img"));
  FERRY_TRY(in_a_child([&] { return make_random_image(image.path(), plan.bytes); }));
  for (const unsigned channels : plan.channels) {
    const ImageTransfer transfer{image.path(), scratch_path(plan, "out.img"), plan.bytes, channels};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_image(plan.commands, transfer); },
        [&] { return bare_image(plan.commands, transfer); }));
    const Bar bar = ratio_bar(runs, 0.9);
    report({"image-random", "bare limit", plan.bytes, channels, std::move(runs), {bar}});
  }
  return {};
}

Result<void> memory(const Plan& plan, const Report& report) {
  for (const unsigned channels : plan.channels) {
    const Transfer transfer{.bytes = plan.bytes, .channels = channels, .poller = plan.poller};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(transfer); },
        [&] { return bare_memory(transfer); }));
    const Bar bar = ratio_bar(runs, channels == 1 ? 0.95 : 0.85);
    report({"memory", "bare limit", plan.bytes, channels, std::move(runs), {bar}});
  }
  return {};
}

/// In one section, nearly all of which goes over lanes, beside sections so small that none does.
Result<void> device_state(const Plan& plan, const Report& report) {
  for (const unsigned channels : plan.channels) {
    const Transfer transfer{.bytes = plan.bytes, .channels = channels, .poller = plan.poller};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_state(transfer, transfer.bytes, plan.scratch); },
        [&] { return ferry_state(transfer, k_mib, plan.scratch); }));
    std::vector<Bar> bars;
    if (channels > 1) bars.push_back(ratio_bar(runs, 1));
    report({"device-state", "the control channel", plan.bytes, channels, std::move(runs),
            std::move(bars)});
  }
  return {};
}

/// What goes over TCP with more around it, beside Ferry's own plain tcp.
Result<void> over_tcp(const Plan& plan, const Report& report) {
  for (const auto& [name, least] : {std::pair("ws", 0.5), {"wss", 0.0}}) {
    for (const unsigned channels : plan.channels) {
      const Transfer plain{.bytes = plan.bytes, .channels = channels, .poller = plan.poller};
      Transfer transfer = plain;
      transfer.scheme = name;
      Runs runs = FERRY_TRY(in_pairs(
          plan.repeats, [&] { return ferry_memory(transfer); },
          [&] { return ferry_memory(plain); }));
      std::vector<Bar> bars;
      if (least > 0) bars.push_back(ratio_bar(runs, least));
      report({"transports", "tcp", plan.bytes, channels, std::move(runs), std::move(bars), name,
              "random"});
    }
  }
  return {};
}

/// ws through a real reverse proxy, beside plain bytes over upgraded connections through the same:
/// the most that the proxy passes.
Result<void> through_nginx(const Plan& plan, const Report& report) {
  if (const auto nginx = Proxy::start(1); !nginx) {
    fmt::print(stderr, "{:<14} skipped: {}\n", "ws-nginx", nginx.error().text());
    return {};
  }
  for (const unsigned channels : plan.channels) {
    Transfer plain{.bytes = plan.bytes, .channels = channels, .poller = plan.poller};
    plain.way = Way::proxy;
    Transfer transfer = plain;
    plain.line = BareLine::upgraded;
    transfer.scheme = "ws";
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(transfer); }, [&] { return bare_memory(plain); }));
    const Bar bar = ratio_bar(runs, 0.9);
    report({"ws-nginx", "bare bytes through nginx", plan.bytes, channels, std::move(runs), {bar}});
  }
  return {};
}

/// Each transport by each kind of memory by each number of channels.
Result<void> transports(const Plan& plan, const Report& report) {
  for (const auto& [name, line] : {std::pair("tcp", BareLine::tcp), {"unix", BareLine::unix}}) {
    for (const auto& [what, kind] : {std::pair("random", Kind::random), {"half", Kind::half}}) {
      for (const unsigned channels : plan.channels) {
        const Transfer transfer{.bytes = plan.bytes,
                                .channels = channels,
                                .line = line,
                                .kind = kind,
                                .poller = plan.poller};
        Runs runs = FERRY_TRY(in_pairs(
            plan.repeats, [&] { return ferry_memory(transfer); },
            [&] { return bare_memory(transfer); }));
        report({"transports", "bare limit", plan.bytes, channels, std::move(runs), {}, name, what});
      }
    }
  }
  return over_tcp(plan, report);
}

Result<void> zeros(const Plan& plan, const Report& report) {
  const UniqueFd file(::memfd_create("zeros", MFD_CLOEXEC));
  if (!file) return fail_sys(Errc::system, errno, "make memory for zeros");
  FERRY_TRY(in_a_child(
      [&] { return make_zero_image(fmt::format("/proc/self/fd/{}", file.get()), plan.bytes); }));
  for (const unsigned channels : plan.channels) {
    const Transfer transfer{.bytes = plan.bytes, .channels = channels, .poller = plan.poller};
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_zeros(transfer, file.get()); },
        [&] { return plain_read_zeros(transfer, file.get()); }));
    const Bar bar = ratio_bar(runs, 0.7);
    report({"zeros", "plain read", plan.bytes, channels, std::move(runs), {bar}});
  }
  return {};
}

Result<void> image_sparse(const Plan& plan, const Report& report) {
  const ScratchFile image(scratch_path(plan, "sparse.img"));
  FERRY_TRY(in_a_child(
      [&] { return make_sparse_image(image.path(), k_sparse_bytes, k_sparse_data_bytes); }));
  for (const unsigned channels : plan.channels) {
    const ImageTransfer transfer{image.path(), scratch_path(plan, "out.img"), k_sparse_bytes,
                                 channels};
    Runs runs =
        FERRY_TRY(alone(plan.repeats, [&] { return ferry_image(plan.commands, transfer); }));
    const double seconds = median_of(runs.ferry, [](const Run& run) { return run.seconds; });
    const Bar bar{"seconds", seconds, Bar::Side::at_most, 2.0};
    report({"image-sparse", "", k_sparse_bytes, channels, std::move(runs), {bar}});
  }
  return {};
}

Result<void> peak(const Plan& plan, const Report& report) {
  const ScratchFile random(scratch_path(plan, "random.img"));
  FERRY_TRY(in_a_child([&] { return make_random_image(random.path(), plan.bytes); }));
  const ScratchFile sparse(scratch_path(plan, "sparse.img"));
  FERRY_TRY(in_a_child(
      [&] { return make_sparse_image(sparse.path(), k_sparse_bytes, k_sparse_data_bytes); }));
  for (const auto& [image, bytes] :
       {std::pair(random.path(), plan.bytes), {sparse.path(), k_sparse_bytes}}) {
    for (const unsigned channels : plan.channels) {
      const ImageTransfer transfer{image, scratch_path(plan, "out.img"), bytes, channels};
      const PeakMemory seen = FERRY_TRY(peak_memory(plan.commands, transfer));
      const double limit = memory_limit(bytes, channels);
      report({"peak-memory",
              "",
              bytes,
              channels,
              {},
              {{"send_bytes_beyond_image", static_cast<double>(seen.send_bytes), Bar::Side::at_most,
                limit},
               {"receive_bytes_beyond_image", static_cast<double>(seen.receive_bytes),
                Bar::Side::at_most, limit}}});
    }
  }
  return {};
}

Result<void> start_up_of_both(const Plan& plan, const Report& report) {
  for (const auto& [name, command] :
       {std::pair("start-up-send", plan.commands.send), {"start-up-recv", plan.commands.receive}}) {
    Runs runs = FERRY_TRY(alone(plan.repeats, [&] { return start_up(command); }));
    const double seconds = median_of(runs.ferry, [](const Run& run) { return run.seconds; });
    const Bar bar{"seconds", seconds, Bar::Side::at_most, 0.05};
    report({name, "", 0, 0, std::move(runs), {bar}});
  }
  return {};
}

}  // namespace

std::string scratch_path(const Plan& plan, std::string_view what) {
  return fmt::format("{}/{}", plan.scratch, what);
}

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases{
      {"image-random", "a random image through the commands, tcp, whole-command time",
       image_random},
      {"memory", "random memory to memory in the library, both sides populated", memory},
      {"device-state", "device state in one section, beside sections that take the control channel",
       device_state},
      {"memory-tls", "the same over tls, beside what two cores can do with the cipher", memory_tls},
      {"image-tls", "image-random over tls, likewise", image_tls},
      {"memory-qemu", "memory over tls with certificates, beside QEMU's multifd", memory_qemu},
      {"transports", "tcp and unix beside the bare limit, ws and wss beside tcp, memory to memory",
       transports},
      {"ws-nginx", "ws through nginx, beside bare bytes through it, memory to memory",
       through_nginx},
      {"zeros", "resident zeros in the library, page faults included", zeros},
      {"image-sparse", "64 GiB with 16 MiB of data through the commands", image_sparse},
      {"peak-memory", "the commands' memory beyond the image", peak},
      {"control-plane", "255 channels connected, greeted and closed, over one page", control_plane},
      {"silent-peers", "a transfer beside 1000 silent connections, and without them", silent_peers},
      {"rdma-placed", "memory to memory over rdma, beside ib_write_bw, and beside tcp",
       rdma_placed},
      {"snapshot-fio", "an image into a file, and the file read, beside fio", snapshot_and_fio},
      {"snapshot-cp", "an image into a snapshot and out of it, beside cp and sync",
       snapshot_and_cp},
      {"snapshot-qemu", "random memory into a file, beside QEMU's own", snapshot_and_qemu},
      {"snapshot-page", "single pages of a snapshot, in no order", snapshot_pages},
      {"guest-downtime", "a guest that runs and writes: its longest gap, the total time",
       guest_downtime},
      {"guest-qemu", "an idle guest, beside QEMU's multifd over tcp", guest_qemu},
      {"start-up", "--version of each command", start_up_of_both},
  };
  return cases;
}

}  // namespace ferry::bench

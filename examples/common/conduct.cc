#include "common/conduct.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <thread>

namespace example {
namespace {

using Json = nlohmann::ordered_json;

enum Ending {
  k_well = 0,
  k_badly = 1,
  k_usage = 2,
  k_not_converging = 9,
  k_unknown_owner = 10,
  k_cannot_run = 77
};

void say(const Json& line) {
  std::puts(line.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

double ms(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

Ending say_failed(const ferry::Error& error, ferry::Owner owner = ferry::Owner::source) {
  say({{"event", "failed"},
       {"code", ferry::to_string(error.code)},
       {"message", error.text()},
       {"owner", ferry::to_string(owner)}});
  if (owner == ferry::Owner::unknown) return k_unknown_owner;
  if (error.code == ferry::Errc::usage) return k_usage;
  if (error.code == ferry::Errc::not_converging) return k_not_converging;
  return k_badly;
}

/// Errors before there is a guest: where it is the machine that lacks something, scripts skip.
Ending say_no_guest(const ferry::Error& error) {
  const Ending ending = say_failed(error);
  return error.code == ferry::Errc::unsupported ? k_cannot_run : ending;
}

/// Turns SIGINT and SIGTERM into a stop request. To be made before any other thread, so that all of
/// them leave the signals to this one.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&wanted_);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) ::sigaddset(&wanted_, signal);
    ::pthread_sigmask(SIG_BLOCK, &wanted_, nullptr);
    thread_ = std::thread([this] {
      int signal = 0;
      ::sigwait(&wanted_, &signal);
      stop_.request_stop();
    });
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    ::pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  std::stop_token stop() const { return stop_.get_token(); }

 private:
  ::sigset_t wanted_{};
  std::stop_source stop_;
  std::thread thread_;
};

/// Lets time pass, or as much of it as nobody asks for the end.
void wait(std::chrono::nanoseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait_for(lock, stop, time, [] { return false; });
}

Json parts_of(const ferry::DowntimeReport& downtime) {
  return {{"pause", ms(downtime.pause)},     {"memory", ms(downtime.memory)},
          {"state", ms(downtime.state)},     {"state_memory", ms(downtime.state_memory)},
          {"digests", ms(downtime.digests)}, {"prepare", ms(downtime.prepare)},
          {"commit", ms(downtime.commit)}};
}

Json migrated(const ferry::Report& report, const Workers& workers) {
  Figures here;
  workers.add_to(here);
  Json rounds = Json::array();
  for (const ferry::RoundReport& round : report.each_round) {
    rounds.push_back({{"bytes", round.bytes},
                      {"guest_ran", round.guest_ran},
                      {"ms", ms(round.time)},
                      {"dirty_rate", round.dirty_rate},
                      {"bandwidth", round.bandwidth}});
  }
  return {{"event", "migrated"},
          {"downtime_ms", ms(report.downtime)},
          {"longest_gap_here_ms", ms(here.longest_gap)},
          {"total_ms", ms(report.elapsed)},
          {"bytes", report.bytes},
          {"wire_bytes", report.wire_bytes},
          {"state_bytes", report.state_bytes},
          {"throttle", report.throttle},
          {"channels", report.channels},
          {"limit", report.limit},
          {"downtime_parts_ms", parts_of(report.downtime_parts)},
          {"rounds", std::move(rounds)}};
}

/// Sends the guest away. Where it stays, it runs on.
std::optional<Ending> leave(ferry::Runtime& runtime, Guest& guest, Options options,
                            const std::stop_token& stop) {
  options.send.observer.connected = [](const ferry::ChannelInfo&) {
    say({{"event", "migrating"}});
  };
  ferry::BandwidthLimit limit(options.max_bandwidth);
  options.send.bandwidth = &limit;
  options.send.throttle = [&guest](unsigned percent) { guest.workers().throttle(percent); };
  const ferry::Outcome outcome = ferry::send(runtime, guest, options.migrate, options.send, stop);
  if (!outcome.ok()) return say_failed(*outcome.why_not, outcome.owner);
  say(migrated(outcome.report, guest.workers()));
  return std::nullopt;
}

Ending run_to_the_end(Guest& guest, const Options& options, const std::stop_token& stop) {
  wait(options.run_for, stop);
  if (auto paused = guest.pause(); !paused) return say_failed(paused.error());
  auto figures = guest.figures();
  if (!figures) return say_failed(figures.error());
  say({{"event", "done"},
       {"longest_gap_ms", ms(figures->longest_gap)},
       {"guest_errors", figures->errors},
       {"heartbeats", figures->heartbeats}});
  return figures->errors == 0 ? k_well : k_badly;
}

Ending arrive(ferry::Runtime& runtime, Guest& guest, const Options& options,
              const std::stop_token& stop) {
  ferry::ReceiveOptions receive;
  receive.observer.listening = [](const ferry::Uri& local, ferry::Reach) {
    say({{"event", "listening"}, {"uri", local.text()}});
  };
  const ferry::Outcome outcome = ferry::receive(runtime, guest, options.incoming, receive, stop);
  if (!outcome.ok()) return say_failed(*outcome.why_not, outcome.owner);
  say({{"event", "running"}});
  return run_to_the_end(guest, options, stop);
}

Ending boot(ferry::Runtime& runtime, Guest& guest, const Options& options,
            const std::stop_token& stop) {
  if (auto booted = guest.boot(); !booted) return say_failed(booted.error());
  say({{"event", "running"}});
  if (options.migrate.empty()) return run_to_the_end(guest, options, stop);
  wait(options.after, stop);
  const std::optional<Ending> failed = leave(runtime, guest, options, stop);
  if (!failed) return k_well;
  if (*failed == k_unknown_owner) return *failed;  // it stays paused: it may run over there
  run_to_the_end(guest, options, stop);
  return *failed;
}

}  // namespace

int conduct(std::span<char* const> arguments, const Vocabulary& vocabulary, MakeGuest make_guest) {
  const auto options = parse(arguments, vocabulary);
  if (!options) return say_failed(options.error());
  if (!*options) return k_well;
  const Signals signals;
  auto guest = make_guest(**options);
  if (!guest) return say_no_guest(guest.error());
  auto runtime = ferry::make_runtime();
  if (!runtime) return say_failed(runtime.error());
  const auto play = (*options)->incoming.empty() ? boot : arrive;
  return play(**runtime, **guest, **options, signals.stop());
}

}  // namespace example

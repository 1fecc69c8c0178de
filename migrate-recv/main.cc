// migrate-recv: memory images from another host.
#include <cstdlib>
#include <memory>
#include <stop_token>

#include "console/command.h"
#include "console/console.h"
#include "console/process.h"
#include "console/snapshot_text.h"
#include "console/tls_options.h"
#include "ferry/ferry.h"
#include "image/image_destination.h"
#include "options.h"

namespace ferry {
namespace {

constexpr const char* k_name = "migrate-recv";

Result<std::unique_ptr<Runtime>> runtime_for(const ReceiveCommand& command) {
  RuntimeOptions choices = command.common.runtime;
  choices.tls = command.tls;
  choices.file = command.file;
  return make_runtime(choices);
}

Result<Outcome> receive_images(const ReceiveCommand& command, Console& console, Log& log) {
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(command));
  log.debug("the loop waits by {}", to_string(runtime->loop().poller_kind()));
  const std::stop_source stop;
  stop_on_signal(runtime->loop(), stop);
  (void)FERRY_TRY(runtime->transport(command.at.scheme));
  const std::unique_ptr<ImageDestination> images = FERRY_TRY(ImageDestination::create(
      {.path = command.output, .existing = command.existing, .stop = stop.get_token()}));

  ReceiveOptions options;
  options.channels = command.lanes;
  options.timeout = command.common.timeout;
  options.max_state_bytes = 0;  // an image has none
  options.observer.listening = [&](const Uri& local, Reach reach) {
    console.listening(local, reach);
  };
  options.observer.connected = [&](const ChannelInfo& info) {
    const std::string text = not_encrypted_text(info);
    if (!text.empty()) console.warning(text);
  };
  options.observer.progress = [&](const Progress& progress) { console.progress(progress); };
  options.observer.warning = [&](const Warning& warning) { console.warning(warning.text); };
  Outcome outcome = receive(*runtime, *images, command.at.text(), options, stop.get_token());
  if (outcome.report.refused > 0) log.info("{} peers were sent away", outcome.report.refused);
  return outcome;
}

/// --inspect and --check: damage that was found is the result of a check, and its exit code.
Result<ExitCode> look_at_snapshot(const ReceiveCommand& command, Console& console) {
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(runtime_for(command));
  const std::stop_source stop;
  stop_on_signal(runtime->loop(), stop);
  const auto snapshot = FERRY_TRY(Snapshot::open(*runtime, command.at.text()));
  if (command.task == ReceiveTask::inspect) {
    return console.answer(inspection_text(*snapshot), inspection_event(*snapshot));
  }
  const SnapshotCheck check = FERRY_TRY(snapshot->check(command.lanes, stop.get_token()));
  console.answer(check_text(check), check_event(check));
  if (check.damaged == 0) return ExitCode::done;
  return fail(Errc::integrity, "check snapshot " + command.at.shown() + ": " +
                                   std::to_string(check.damaged) + " damages, the first is " +
                                   check.damages.front().what);
}

ExitCode run(Arguments arguments) {
  const Result<ReceiveCommand> command = parse_receive_command(
      arguments,
      {.listen_pid = std::getenv("LISTEN_PID"), .listen_fds = std::getenv("LISTEN_FDS")});
  if (!command) return run_command(k_name, arguments, std::unexpected(command.error()));
  const auto work = [&](Console& console, Log& log) -> Result<ExitCode> {
    if (command->task != ReceiveTask::receive) return look_at_snapshot(*command, console);
    return console.finished(FERRY_TRY(receive_images(*command, console, log)));
  };
  return run_command(k_name, arguments, Invocation{command->common, work});
}

}  // namespace
}  // namespace ferry

int main(int argc, char** argv) {
  return ferry::command_main(argc, argv, ferry::k_name, ferry::run);
}

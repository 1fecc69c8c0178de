// migrate-recv: memory images from another host.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <span>
#include <stop_token>

#include "console/console.h"
#include "console/process.h"
#include "console/tls_options.h"
#include "ferry/ferry.h"
#include "image/image_destination.h"
#include "options.h"

namespace ferry {
namespace {

Result<Outcome> receive_images(const ReceiveCommand& command, Console& console, Log& log) {
  RuntimeOptions choices = command.common.runtime;
  choices.tls = command.tls;
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(make_runtime(choices));
  log.debug("the loop waits by {}", to_string(runtime->loop().poller_kind()));
  const std::stop_source stop;
  stop_on_signal(runtime->loop(), stop);
  FERRY_TRY(runtime->transport(command.at.scheme));
  const std::unique_ptr<ImageDestination> images =
      FERRY_TRY(ImageDestination::create({.path = command.output, .existing = command.existing}));

  ReceiveOptions options;
  options.timeout = command.common.timeout;
  options.observer.listening = [&](const Uri& local) { console.listening(local, command.at); };
  options.observer.connected = [&](const ChannelInfo& info) {
    if (!info.encrypted && !info.within_host) console.warning(not_encrypted_text(info.scheme));
  };
  options.observer.progress = [&](const Progress& progress) { console.progress(progress); };
  options.observer.warning = [&](const Warning& warning) { console.warning(warning.text); };
  Outcome outcome = receive(*runtime, *images, command.at.text(), options, stop.get_token());
  if (outcome.report.refused > 0) log.info("{} peers were sent away", outcome.report.refused);
  return outcome;
}

ExitCode run(std::span<const char* const> arguments) {
  Result<ReceiveCommand> command = parse_receive_command(
      arguments,
      {.listen_pid = std::getenv("LISTEN_PID"), .listen_fds = std::getenv("LISTEN_FDS")});
  Console console({.command = "migrate-recv",
                   .format = format_asked_for(arguments),
                   .chatter = command ? command->common.chatter : Console::Chatter::all,
                   .out = output_for(arguments)});
  if (!command) return console.failed(command.error());
  if (!command->common.answer.empty()) {
    std::fputs(command->common.answer.c_str(), stdout);
    return ExitCode::done;
  }
  Log log(command->common.log_level);
  const Result<Outcome> outcome = receive_images(*command, console, log);
  return outcome ? console.finished(*outcome) : console.failed(outcome.error());
}

}  // namespace
}  // namespace ferry

int main(int argc, char** argv) {
  ferry::prepare_process();
  try {
    return static_cast<int>(ferry::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1)));
  } catch (const std::exception& bug) {
    // Ferry throws nothing; a library beneath it may.
    std::fprintf(stderr, "migrate-recv: internal error: %s\n", bug.what());
    return static_cast<int>(ferry::ExitCode::internal);
  }
}

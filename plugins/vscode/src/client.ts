/** The one connection to `tacit lsp`: how it is started, what it is configured with, what the editor asks of it. */

import * as vscode from "vscode";
import {
  CloseAction,
  DidChangeConfigurationNotification,
  ErrorAction,
  ExecuteCommandRequest,
  LanguageClient,
  ProgressType,
  RevealOutputChannelOn,
  type LanguageClientOptions,
  type Middleware,
  type ServerCapabilities,
} from "vscode-languageclient/node";

import type { Question } from "./actions";
import { passOn } from "./diagnostics";
import { findTacit, sayMissing } from "./executable";
import type { Said, StatusItem } from "./status";

/** Settings of this extension; every other one is the language server's. */
const OWN = new Set(["command"]);

const RESTARTS = 4;
const RESTARTS_WITHIN_MS = 3 * 60_000;

export class TacitClient {
  paused = false;
  /** Shows an explanation, in the place of the language server's message. */
  explain: ((question: Question) => Promise<void>) | undefined;
  private streams = 0;
  private client: LanguageClient | undefined;
  private last: string | undefined;
  private ends: number[] = [];
  private passing: vscode.Disposable | undefined;

  constructor(
    private readonly log: vscode.LogOutputChannel,
    private readonly status: StatusItem,
  ) {}

  /** What the language server says it can do; undefined while it does not run. */
  get capabilities(): ServerCapabilities | undefined {
    return this.client?.initializeResult?.capabilities;
  }

  async start(): Promise<void> {
    const command = findTacit();
    if (command === undefined) {
      this.status.say({ state: "unavailable", message: "The `tacit` program is not installed, or not where `tacit.command` says." });
      void sayMissing();
      return;
    }
    const client = new LanguageClient("tacit", "Tacit", { command, args: ["lsp"] }, this.options());
    this.client = client;
    client.onNotification("tacit/status", (said: Said) => this.status.say(said));
    this.status.say({ state: "starting", message: "The language server is being started." });
    try {
      await client.start();
    } catch (error) {
      this.client = undefined;
      this.log.error(String(error));
      this.status.say({ state: "failed", message: `\`${command} lsp\` does not start; the log says why.` });
      return;
    }
    this.paused = false;
    this.passing?.dispose();
    this.passing = passOn((params) => void this.client?.sendNotification("tacit/diagnostics", params));
    await this.setContext(true);
  }

  async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.last = undefined;
    this.passing?.dispose();
    await this.setContext(false);
    await client?.dispose(5000);
  }

  async restart(): Promise<void> {
    this.ends = [];
    await this.stop();
    await this.start();
  }

  async configurationChanged(event: vscode.ConfigurationChangeEvent): Promise<void> {
    if (event.affectsConfiguration("tacit.command")) {
      await this.restart();
    } else if (event.affectsConfiguration("tacit")) {
      // It asks for the section by itself then.
      await this.client?.sendNotification(DidChangeConfigurationNotification.type, { settings: null });
    }
  }

  async togglePause(): Promise<void> {
    const command = this.paused ? "tacit.resume" : "tacit.pause";
    if (await this.request(ExecuteCommandRequest.method, { command })) {
      this.paused = !this.paused;
      if (this.paused) {
        await vscode.commands.executeCommand("editor.action.inlineSuggest.hide");
      }
    }
  }

  /** The suggestion that was shown last was sent away. */
  async rejectLast(): Promise<void> {
    if (this.last !== undefined) {
      await this.client?.sendNotification("tacit/didRejectCompletion", { suggestionId: this.last });
    }
  }

  /** What the language server answers, in an object; undefined, and the user is told, if there is nobody to ask. */
  async request(method: string, params: object): Promise<{ answer: unknown } | undefined> {
    if (this.client === undefined) {
      void vscode.window.showWarningMessage("Tacit's language server does not run; the status item says why.");
      return undefined;
    }
    try {
      return { answer: await this.client.sendRequest(method, params) };
    } catch (error) {
      this.log.warn(`${method}: ${error}`);
      void vscode.window.showWarningMessage(`Tacit: ${error instanceof Error ? error.message : error}`);
      return undefined;
    }
  }

  /** Like `request`; the pieces of the answer come as they are made. */
  async stream(method: string, params: object, onText: (piece: string) => void): Promise<{ answer: unknown } | undefined> {
    const token = `tacit-${++this.streams}`;
    const heard = this.client?.onProgress(new ProgressType<{ text: string }>(), token, ({ text }) => onText(text));
    try {
      return await this.request(method, { ...params, partialResultToken: token });
    } finally {
      heard?.dispose();
    }
  }

  private options(): LanguageClientOptions {
    const middleware: Middleware = {
      executeCommand: async (command, args, next) =>
        command === "tacit.explain" && this.explain !== undefined ? this.explain(args[0] as Question) : next(command, args),
      provideInlineCompletionItems: async (document, position, context, token, next) => {
        const found = await next(document, position, context, token);
        const items = found === null || found === undefined ? [] : Array.isArray(found) ? found : found.items;
        const id: unknown = items[0]?.command?.arguments?.[0];
        if (typeof id === "string" && !token.isCancellationRequested) {
          this.last = id;
        }
        return found;
      },
      workspace: {
        configuration: async (params, token, next) => {
          const answer = await next(params, token);
          return Array.isArray(answer) ? answer.map((section) => ofServer(section)) : answer;
        },
      },
    };
    return {
      documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
      initializationOptions: ofServer(vscode.workspace.getConfiguration().get("tacit")),
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      middleware,
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => this.ended(),
      },
    };
  }

  private ended(): { action: CloseAction; message?: string; handled: boolean } {
    // A new process knows nothing of a pause.
    this.paused = false;
    const now = Date.now();
    this.ends = [...this.ends.filter((at) => now - at < RESTARTS_WITHIN_MS), now];
    if (this.ends.length <= RESTARTS) {
      this.status.say({ state: "starting", message: "The language server ended and is being started again." });
      return { action: CloseAction.Restart, handled: true };
    }
    this.client = undefined;
    void this.setContext(false);
    const message = "The language server ends again and again; the log says why. “Tacit: Restart the Language Server” tries anew.";
    this.status.say({ state: "failed", message });
    return { action: CloseAction.DoNotRestart, handled: true };
  }

  private async setContext(running: boolean): Promise<void> {
    const actions = running ? this.capabilities?.codeActionProvider : undefined;
    const kinds = typeof actions === "object" ? (actions.codeActionKinds ?? []) : [];
    const values = {
      "tacit.running": running,
      "tacit.offersFix": kinds.some((kind) => kind.startsWith("quickfix")),
      "tacit.offersExplain": kinds.some((kind) => kind.startsWith("tacit.explain")),
    };
    for (const [name, value] of Object.entries(values)) {
      await vscode.commands.executeCommand("setContext", name, value);
    }
  }
}

function ofServer(section: unknown): Record<string, unknown> {
  const all = typeof section === "object" && section !== null ? section : {};
  return Object.fromEntries(Object.entries(all).filter(([name]) => !OWN.has(name)));
}

/** The status bar item: what `tacit/status` says, in its words. Knows no other part. */

import * as vscode from "vscode";

/** `tacit/status`. */
export interface Said {
  state: string;
  /** Why nothing was suggested; may be empty. */
  message: string;
  /** What the last suggestion came from: `base` or an adapter's name. */
  policyVersion?: string;
}

const ICONS: Record<string, string> = {
  ready: "sparkle",
  suggested: "sparkle-filled",
  starting: "loading~spin",
  waiting: "loading~spin",
  unavailable: "warning",
  failed: "warning",
  disabled: "circle-slash",
  hidden: "eye-closed",
};

export class StatusItem implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem("tacit.status", vscode.StatusBarAlignment.Right, 100);
  private said: Said = { state: "starting", message: "" };
  private policyVersion = "";

  constructor() {
    this.item.name = "Tacit";
    this.item.command = "tacit.showStatus";
    this.draw();
    this.item.show();
  }

  say(said: Said): void {
    this.said = said;
    this.policyVersion = said.policyVersion || this.policyVersion;
    this.draw();
  }

  /** In words, with what can be done about it. */
  async show(paused: boolean): Promise<void> {
    const does: Record<string, string> = {
      [paused ? "Resume" : "Pause"]: "tacit.togglePause",
      "Rate Bad…": "tacit.rateBad",
      "Show Log": "tacit.showLog",
      Restart: "tacit.restart",
    };
    const chosen = await vscode.window.showInformationMessage(`Tacit: ${this.words()} ${this.origin()}`.trim(), ...Object.keys(does));
    const command = chosen === undefined ? undefined : does[chosen];
    if (command !== undefined) {
      await vscode.commands.executeCommand(command);
    }
  }

  dispose(): void {
    this.item.dispose();
  }

  private words(): string {
    return this.said.message || (this.said.state === "suggested" ? "A suggestion is shown." : `${this.said.state}.`);
  }

  private origin(): string {
    return this.policyVersion && `The last suggestion came from ${this.policyVersion === "base" ? "the base model" : this.policyVersion}.`;
  }

  private draw(): void {
    const icon = ICONS[this.said.state] ?? "dash";
    this.item.text = `$(${icon}) Tacit`;
    this.item.accessibilityInformation = { label: `Tacit: ${this.words()} ${this.origin()}`.trim() };
    this.item.tooltip = ["Tacit", this.words(), this.origin()].filter(Boolean).join("\n");
    const bad = this.said.state === "unavailable" || this.said.state === "failed";
    this.item.backgroundColor = bad ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
  }
}

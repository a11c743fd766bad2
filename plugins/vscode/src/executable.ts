/** Where the `tacit` program is, and what the user is told when it is nowhere. Reads the setting `tacit.command` and PATH. */

import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";

import * as vscode from "vscode";

/** Its full path; undefined: it is not there. */
export function findTacit(): string | undefined {
  const wanted = vscode.workspace.getConfiguration("tacit").get<string>("command", "tacit").trim() || "tacit";
  const named = wanted.startsWith("~/") ? join(homedir(), wanted.slice(2)) : wanted;
  if (isAbsolute(named)) {
    return runs(named) ? named : undefined;
  }
  // Never a path relative to the workspace: what is opened must not choose what is started.
  const folders = named.includes("/") ? [] : (process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute);
  return folders.map((folder) => join(folder, named)).find(runs);
}

export async function sayMissing(): Promise<void> {
  const settings = "Open the Setting";
  const again = "Try Again";
  const chosen = await vscode.window.showErrorMessage(
    "Tacit's extension needs the `tacit` program, which was not found. Install Tacit (its README says how: `make run` in its folder), " +
      "then put `tacit` into PATH, or its full path (FOLDER/.venv/bin/tacit) into the setting `tacit.command`.",
    settings,
    again,
  );
  if (chosen === settings) {
    await vscode.commands.executeCommand("workbench.action.openSettings", "tacit.command");
  } else if (chosen === again) {
    await vscode.commands.executeCommand("tacit.restart");
  }
}

function runs(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

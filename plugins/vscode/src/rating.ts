/** Rating the last suggestion: one key for good, one choice of a reason for bad. The language server keeps it, or says why not. */

import * as vscode from "vscode";

import type { TacitClient } from "./client";

interface Reason extends vscode.QuickPickItem {
  flag: "hallucination" | "wrong" | "insecure" | "unclear" | undefined;
}

const REASONS: readonly Reason[] = [
  { label: "Wrong", description: "it does not do what it should", flag: "wrong" },
  { label: "Hallucination", description: "it uses what does not exist", flag: "hallucination" },
  { label: "Insecure", description: "it would open a hole", flag: "insecure" },
  { label: "Unclear", description: "hard to read or to understand", flag: "unclear" },
  { label: "Another reason", flag: undefined },
];
const CORRECTION: Reason = { label: "Correct it…", description: "say what it should have been", flag: undefined };

export async function rateGood(tacit: TacitClient): Promise<void> {
  await rate(tacit, { value: 1 });
}

/** id: of an answer, which can be corrected, too; without one it is about the last suggestion. */
export async function rateBad(tacit: TacitClient, id?: string): Promise<void> {
  const title = id === undefined ? "What was wrong with the last suggestion?" : "What was wrong with this answer?";
  const reason = await vscode.window.showQuickPick(id === undefined ? REASONS : [...REASONS, CORRECTION], { title });
  if (reason === undefined) {
    return;
  }
  const correction =
    reason === CORRECTION ? await vscode.window.showInputBox({ title, prompt: "What it should have been" }) : undefined;
  if (reason === CORRECTION && (correction === undefined || correction.trim() === "")) {
    return;
  }
  await rate(tacit, {
    value: -1,
    ...(id !== undefined && { suggestionId: id }),
    ...(reason.flag !== undefined && { flag: reason.flag }),
    ...(correction !== undefined && { correction }),
  });
}

export async function rate(tacit: TacitClient, params: object): Promise<void> {
  const said = await tacit.request("tacit/rate", params);
  if (typeof said?.answer === "string") {
    vscode.window.setStatusBarMessage(`Tacit: ${said.answer}`, 5000);
  }
}

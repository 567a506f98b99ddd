// Missions, budgets for whole agent runs, arrive in a later change.
export {};

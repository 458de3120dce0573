/** Stands for whatever sends mail. */
export const mail = { send: async (_to: string, _text: string): Promise<void> => {} };

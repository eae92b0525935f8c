/** Training data: sequences of both chains in equal parts, drawn with a fixed seed. */
import { int32, randomStream, type TokenDataset, type TokenDatasetPlugin } from '@dimo/core';
import { chains, numSymbols, sampleChain, sequenceLength } from './chain.js';

/** `perChain` sequences of each chain, one chain after the other. */
export function chainDataset(perChain: number, seed: number): TokenDataset {
  const tokens = new Int32Array(chains.length * perChain * sequenceLength);
  const ids = new Int32Array(chains.length * perChain);
  chains.forEach((chain, id) => {
    const sequences = sampleChain(chain, randomStream(seed, 0, `chain-dataset/${chain.name}`), perChain);
    tokens.set(sequences.data, id * perChain * sequenceLength);
    ids.fill(id, id * perChain, (id + 1) * perChain);
  });
  return {
    name: 'markov-chains',
    codebookSize: numSymbols,
    tokens: int32([ids.length, sequenceLength], tokens),
    condition: { chain: int32([ids.length], ids) },
  };
}

/** 16,384 sequences of each chain. */
export const chainDatasetPlugin: TokenDatasetPlugin = {
  name: 'markov-chains',
  description: 'Sequences of two known Markov chains over eight symbols',
  load: () => chainDataset(16_384, 1),
};

#!/usr/bin/env node
import { run } from './program/run-program.js';

process.exitCode = await run(process.argv.slice(2));

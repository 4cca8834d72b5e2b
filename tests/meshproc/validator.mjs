// Prints the Khronos validator's report of a GLB file; the first argument is the validator's package folder.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, file] = process.argv.slice(2);
const validator = createRequire(`${folder}/package.json`)("gltf-validator");
const report = await validator.validateBytes(new Uint8Array(readFileSync(file)), { maxIssues: 50 });
console.log(JSON.stringify(report));
